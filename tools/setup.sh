#!/bin/sh
# Makes .venv; the work is in setup.py. PYTHON names the Python to use.
for python in "${PYTHON:-python3.11}" ${PYTHON:-python3.12 python3}; do
    if "$python" -c '' 2>/dev/null; then exec "$python" "$(dirname "$0")/setup.py" "$@"; fi
done
echo "setup: ${PYTHON:-python3.11} does not run: 'apt-get install python3.11 python3.11-venv' (Ubuntu 24.04: python3.12 python3.12-venv), or name another: PYTHON=..." >&2
exit 2
