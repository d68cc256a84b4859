#!/usr/bin/env bash
# Train in several processes, on GPUs or CPUs, on one or more machines:
#   tools/dist_train.sh CONFIG PROCESSES [options of train.py]
# Without arguments it lists the variables of the environment. PYTHON names the interpreter.
exec "${PYTHON:-python}" "$(dirname "$0")/_launch.py" "$0" train "$@"
