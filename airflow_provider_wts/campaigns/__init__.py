"""Many sends in one task: the recipients, and what each of them gets."""
