"""What the tests of sending share."""

from tries import _never_expire, bot_key, hook, in_the_past, make_task, store, task  # noqa: F401
