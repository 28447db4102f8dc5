"""The programs that run on emulated hosts."""
