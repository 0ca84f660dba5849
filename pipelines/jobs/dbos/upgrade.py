"""Jobs that were under way when the steps of the workflow changed start over under the new version."""

from dbos import DBOSClient, WorkflowStatus

from pipelines.jobs.dbos.records import QUEUE, UPGRADING, WORKFLOW


def upgrade_jobs(client: DBOSClient, version: str, executor_id: str | None = None) -> int:
    """Rewind unfinished jobs of another workflow version to their first step; return how many. Blocking.

    Call it while no runner is alive, or for the jobs of one ``executor_id`` that is not. What their stages wrote is
    found by artifact, so nothing is computed twice. A rewind needs an ended workflow, so each is cancelled first; the
    mark tells everyone (a status request, or whoever comes after a crash in between) that this is no cancelled job.
    """
    unfinished = client.list_workflows(
        name=WORKFLOW,
        status=["ENQUEUED", "DELAYED", "PENDING", "CANCELLED"],
        executor_id=executor_id,
        load_input=False,
        load_output=False,
    )
    return sum(_upgrade(client, status, version) for status in unfinished)


def _upgrade(client: DBOSClient, status: WorkflowStatus, version: str) -> bool:
    attributes = status.attributes or {}
    marked = bool(attributes.get(UPGRADING))
    current = status.app_version in (None, version)
    if not marked and (current or status.status == "CANCELLED"):
        return False
    if not (marked and current and status.status != "CANCELLED"):
        attempts = int(attributes.get("earlier_attempts") or 0) + int(status.recovery_attempts or 0)
        mark = {UPGRADING: version, "earlier_attempts": attempts}
        client.update_workflow_attributes(status.workflow_id, mark, merge=True)
        client.cancel_workflow(status.workflow_id)
        client.rewind_workflow(
            status.workflow_id,
            start_step=1,
            application_version=version,
            queue_name=QUEUE,
            queue_partition_key=status.authenticated_user,
        )
    client.update_workflow_attributes(status.workflow_id, {UPGRADING: None}, merge=True)
    return True
