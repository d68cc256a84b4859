#!/usr/bin/env bash
# Evaluate in several processes, on GPUs or CPUs, on one or more machines:
#   tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [options of test.py]
# Without arguments it lists the variables of the environment. PYTHON names the interpreter.
exec "${PYTHON:-python}" "$(dirname "$0")/_launch.py" "$0" test "$@"
