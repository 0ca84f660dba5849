"""The records that flows pass around: frozen dataclasses that cross Ray handles and JSON unchanged."""
