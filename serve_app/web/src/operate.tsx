/** What an operator asks first. */
import { useEffect } from "preact/hooks";
import { ApiError, get, type Health, locked, supports } from "./api";
import { Icon, Notice, useLoaded, words } from "./parts";
import { text } from "./text";

const EVERY_MS = 5000;

export function Operate() {
  const { value, error, reload } = useLoaded(`health ${locked.value}`, () => get<Health>("/health/detailed"));
  useEffect(() => {
    const timer = setInterval(() => document.visibilityState === "visible" && reload(), EVERY_MS);
    return () => clearInterval(timer);
  }, []);
  return (
    <div class="view">
      <header class="view-head">
        <h1>{text.operate.title}</h1>
        <p>{text.operate.lead}</p>
      </header>
      {error !== null && <Notice kind="error">{error instanceof ApiError && error.status === 403 ? text.operate.denied : words(error)}</Notice>}
      {value && <Shown health={value} />}
      {supports("/v1/usage") && <Usage />}
      <p class="muted small">
        {text.operate.refresh} · <a href="/docs">{text.operate.docs}</a>
      </p>
    </div>
  );
}

function Shown({ health }: { health: Health }) {
  const open = Object.entries(health.breakers).filter(([, state]) => state !== "closed");
  return (
    <>
      <div class={`banner ${health.status}`}>
        <Icon name={health.status === "ok" ? "check" : "warning"} />
        <strong>{text.operate.state[health.status]}</strong>
        <span class="muted">
          {text.operate.version} {health.version} · {text.operate.profile} {health.profile}
        </span>
      </div>
      <div class="cards">
        <section class="card">
          <h2>{text.operate.queue}</h2>
          <p class="number">{health.queue.total_waiting ?? "–"}</p>
          <p class="muted">{text.operate.waiting}</p>
          {health.queue.drained_per_s !== null && (
            <p class="muted">
              {text.operate.drained}: {(health.queue.drained_per_s * 60).toFixed(1)}
            </p>
          )}
        </section>
        <section class="card">
          <h2>{text.operate.checks}</h2>
          <ul class="plain">
            {Object.entries(health.checks).map(([name, check]) => (
              <li key={name}>
                <span class={`dot ${check.status}`} aria-hidden="true" /> {name}
                <span class="muted">{check.code ?? `${check.latency_ms} ms`}</span>
              </li>
            ))}
          </ul>
        </section>
        <section class="card">
          <h2>{text.operate.breakers}</h2>
          {open.length === 0 ? (
            <p class="muted">{text.operate.noBreakers}</p>
          ) : (
            <ul class="plain">
              {open.map(([name, state]) => (
                <li key={name}>
                  <span class="dot down" aria-hidden="true" /> {name} <span class="muted">{state}</span>
                </li>
              ))}
            </ul>
          )}
        </section>
      </div>
      <section class="card">
        <h2>{text.operate.models}</h2>
        <ul class="plain models">
          {health.models.map((model) => {
            const shown = model as unknown as { role?: string; name?: string; id?: string; backend?: string; demo?: boolean; status?: string; fallback?: { wanted: string; reason: string } | null };
            return (
              <li key={`${shown.role} ${shown.id ?? shown.name}`}>
                <span class={`dot ${shown.fallback ? "degraded" : "ok"}`} aria-hidden="true" />
                <strong>{text.transcript.roles[shown.role ?? ""] ?? shown.role}</strong>
                <span>{shown.name ?? shown.id ?? text.operate.notLoaded}</span>
                {shown.fallback && <span class="muted">{text.operate.fallback(shown.fallback.wanted, shown.fallback.reason)}</span>}
              </li>
            );
          })}
        </ul>
      </section>
      <section class="card">
        <h2>{text.operate.degraded}</h2>
        {health.degraded.length === 0 ? (
          <p class="muted">{text.operate.noFallbacks}</p>
        ) : (
          <ul class="plain">
            {health.degraded.map((entry, index) => (
              <li key={index}>
                <strong>{text.library.stages[entry.stage] ?? entry.stage}</strong> {text.transcript.degraded(entry.used, entry.wanted)} <span class="muted">{entry.reason}</span>
              </li>
            ))}
          </ul>
        )}
      </section>
      <section class="card scrolls" tabIndex={0} aria-label={text.operate.deployments}>
        <h2>{text.operate.deployments}</h2>
        <table>
          <thead>
            <tr>
              <th scope="col">{text.operate.name}</th>
              <th scope="col">{text.operate.status}</th>
              <th scope="col">{text.operate.replicas}</th>
            </tr>
          </thead>
          <tbody>
            {health.deployments.map((deployment) => (
              <tr key={deployment.name}>
                <td>{deployment.name}</td>
                <td>
                  <span class={`dot ${deployment.status === "HEALTHY" ? "ok" : "degraded"}`} aria-hidden="true" /> {deployment.status.toLowerCase()}
                </td>
                <td>{deployment.replicas}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    </>
  );
}

/** Usage by day, in whatever figures this deployment keeps. */
function Usage() {
  const { value } = useLoaded(`usage ${locked.value}`, () => get<{ data?: Record<string, unknown>[] }>("/v1/usage"));
  const rows = value?.data ?? [];
  if (rows.length === 0) return null;
  const columns = Object.keys(rows[0]!).filter((column) => typeof rows[0]![column] !== "object");
  return (
    <section class="card scrolls" tabIndex={0} aria-label={text.operate.usage}>
      <h2>{text.operate.usage}</h2>
      <table>
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column} scope="col">
                {column.replaceAll("_", " ")}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, index) => (
            <tr key={index}>
              {columns.map((column) => (
                <td key={column}>{String(row[column] ?? "–")}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
