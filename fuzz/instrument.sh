#!/bin/sh
# Called by cargo in the place of rustc for the workspace's own crates: has them say which branches they take.
# What runs in the compiler itself is left alone.
for argument in "$@"; do
  case "$argument" in
    proc-macro | build_script_*) exec "$@" ;;
  esac
done
exec "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
  -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions=yes -Coverflow-checks=yes
