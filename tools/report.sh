#!/bin/sh
# Open an issue with a label, or comment on the open issue that has it. Needs GitHub's `gh`.
# Usage: tools/report.sh LABEL TITLE TEXT
set -e
open=$(gh issue list --label "$1" --state open --limit 1 --json number --jq '.[].number')
if [ -n "$open" ]; then
    gh issue comment "$open" --body "$3"
else
    gh label create "$1" --force --description "Found by the workflow of this name"
    gh issue create --label "$1" --title "$2" --body "$3"
fi
