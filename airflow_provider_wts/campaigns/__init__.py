"""Many sends in one task: where the recipients come from, and what each of them gets."""
