"""The internal port: publish API, health, metrics, OpenAPI and the demo page.

Nothing here knows sockets of clients, frames or the broker's wire; everything goes through
`gateway_view.GatewayView`.
"""
