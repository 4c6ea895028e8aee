"""The broker whose state is in Redis (or Valkey), for gateways on several machines."""
