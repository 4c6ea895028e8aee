"""Who a client is: tokens, the keys that verify them, what their claims grant, and what was revoked."""
