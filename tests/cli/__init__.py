"""Tests of the command line: in this process against a fake node; what needs a process starts one."""
