"""What goes to addresses that tenants name: recordings fetched, webhooks delivered, and the guard before both."""
