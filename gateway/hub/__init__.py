"""Channels, their subscribers, and the broadcast ring."""
