"""Work in other processes, code of others in this one, and how a command ends early."""
