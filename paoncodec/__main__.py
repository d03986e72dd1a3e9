"""`python -m paoncodec` is the command `paoncodec`."""

from paoncodec.cli import main

main(prog_name="paoncodec")
