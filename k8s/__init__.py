"""KubeRay manifests, and what renders them."""
