"""RayScribe's pipelines: what is done with a recording, without Ray, a web framework or environment variables.

See README.md in this folder for what each module owns and may import.
"""

__version__ = "0.1.0"
