"""The command line. It holds no method: it calls the rooms and shows what they return."""
