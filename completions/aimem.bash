# Completion of aimem for bash, made from the program: `aimem completion bash`.
_aimem() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
    local at word skip= command= flags= words= files=
    COMPREPLY=()
    # bash cuts words at `=`: in --tier=mid the value stands two words on.
    if [[ $cur == = ]]; then cur=
    elif [[ $prev == = ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}
    fi
    for ((at = 1; at < COMP_CWORD; at++)); do
        word=${COMP_WORDS[at]}
        if [[ $skip ]]; then skip=; continue; fi
        case "$word" in
            --to|--db|--agent-id|--config|--cache-dir|--ca-cert|--client-cert|--client-key|--pin|--api-key-file) skip=1 ;;
            serve|push|query|get|update|delete|promote|link|graph|forget|archive|namespaces|stats|status|watch|fleet|quarantine|policy|pending|agents|notify|inbox|subscriptions|mcp|allowlist|gc|export|import|migrate|store|backup|restore|units|man|completion|licenses) command=$word; break ;;
        esac
    done
    case "$command" in
        serve)
            flags='--bind --host --port --store-url --store-read-url --store-read-lag-secs --tier --tls-cert --tls-key --mtls-allowlist --api-key-file --memory-max --fleet --node --rack --zone --quorum-peers --quorum-writes --quorum-racks --quorum-scope --quorum-timeout-ms --quorum-client-cert --quorum-client-key --quorum-ca-cert --catchup-interval-secs --max-skew --count-legacy-acks --webhook-networks --webhook-give-up-secs --require-identity --insecure --check --allow-network-fs --tombstone-days --collect-grace-secs --shutdown-grace-secs --log-format --log-level --db --config --cache-dir --help' words='' files=
            case "$prev" in
                --bind) return ;;
                --host) return ;;
                --port) return ;;
                --store-url) return ;;
                --store-read-url) return ;;
                --store-read-lag-secs) return ;;
                --tier) COMPREPLY=($(compgen -W 'keyword semantic' -- "$cur")); return ;;
                --tls-cert) return ;;
                --tls-key) return ;;
                --mtls-allowlist) return ;;
                --api-key-file) return ;;
                --memory-max) return ;;
                --fleet) return ;;
                --node) return ;;
                --rack) return ;;
                --zone) return ;;
                --quorum-peers) return ;;
                --quorum-writes) return ;;
                --quorum-racks) return ;;
                --quorum-scope) COMPREPLY=($(compgen -W 'nodes stores' -- "$cur")); return ;;
                --quorum-timeout-ms) return ;;
                --quorum-client-cert) return ;;
                --quorum-client-key) return ;;
                --quorum-ca-cert) return ;;
                --catchup-interval-secs) return ;;
                --max-skew) return ;;
                --webhook-networks) return ;;
                --webhook-give-up-secs) return ;;
                --tombstone-days) return ;;
                --collect-grace-secs) return ;;
                --shutdown-grace-secs) return ;;
                --log-format) COMPREPLY=($(compgen -W 'text json' -- "$cur")); return ;;
                --log-level) COMPREPLY=($(compgen -W 'debug info warning error' -- "$cur")); return ;;
                --db) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --config) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --cache-dir) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
            esac ;;
        push)
            flags='--title --content --jsonl --from-db --namespace --tier --tags --priority --confidence --source --expires-at --ttl-secs --scope --on-conflict --parallel --retry-secs --idempotency-key --help --to --db --agent-id --json --config --cache-dir --ca-cert --client-cert --client-key --pin --api-key-file' words='' files=1
            case "$prev" in
                -T|--title) return ;;
                -c|--content) return ;;
                --from-db) return ;;
                -n|--namespace) return ;;
                -t|--tier) COMPREPLY=($(compgen -W 'short mid long' -- "$cur")); return ;;
                --tags) return ;;
                -p|--priority) return ;;
                --confidence) return ;;
                -S|--source) return ;;
                --expires-at) return ;;
                --ttl-secs) return ;;
                --scope) COMPREPLY=($(compgen -W 'private team unit org collective' -- "$cur")); return ;;
                --on-conflict) COMPREPLY=($(compgen -W 'merge error version' -- "$cur")); return ;;
                --parallel) return ;;
                --retry-secs) return ;;
                --idempotency-key) return ;;
                --to) return ;;
                --db) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --agent-id) return ;;
                --config) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --cache-dir) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
                --ca-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-key) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --pin) return ;;
                --api-key-file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
            esac ;;
        query)
            flags='--words --id --list --namespace --tier --tags --since --until --min-priority --agent --as-agent --limit --offset --budget-tokens --jsonl --help --to --db --agent-id --json --config --cache-dir --ca-cert --client-cert --client-key --pin --api-key-file' words='' files=
            case "$prev" in
                --id) return ;;
                -n|--namespace) return ;;
                -t|--tier) COMPREPLY=($(compgen -W 'short mid long' -- "$cur")); return ;;
                --tags) return ;;
                --since) return ;;
                --until) return ;;
                --min-priority) return ;;
                --agent) return ;;
                --as-agent) return ;;
                --limit) return ;;
                --offset) return ;;
                --budget-tokens) return ;;
                --to) return ;;
                --db) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --agent-id) return ;;
                --config) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --cache-dir) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
                --ca-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-key) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --pin) return ;;
                --api-key-file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
            esac ;;
        get)
            flags='--help --to --db --agent-id --json --config --cache-dir --ca-cert --client-cert --client-key --pin --api-key-file' words='' files=
            case "$prev" in
                --to) return ;;
                --db) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --agent-id) return ;;
                --config) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --cache-dir) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
                --ca-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-key) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --pin) return ;;
                --api-key-file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
            esac ;;
        update)
            flags='--title --content --namespace --tier --tags --priority --confidence --expires-at --metadata --if-version --idempotency-key --help --to --db --agent-id --json --config --cache-dir --ca-cert --client-cert --client-key --pin --api-key-file' words='' files=
            case "$prev" in
                -T|--title) return ;;
                -c|--content) return ;;
                -n|--namespace) return ;;
                -t|--tier) COMPREPLY=($(compgen -W 'short mid long' -- "$cur")); return ;;
                --tags) return ;;
                -p|--priority) return ;;
                --confidence) return ;;
                --expires-at) return ;;
                --metadata) return ;;
                --if-version) return ;;
                --idempotency-key) return ;;
                --to) return ;;
                --db) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --agent-id) return ;;
                --config) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --cache-dir) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
                --ca-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-key) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --pin) return ;;
                --api-key-file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
            esac ;;
        delete)
            flags='--if-version --idempotency-key --help --to --db --agent-id --json --config --cache-dir --ca-cert --client-cert --client-key --pin --api-key-file' words='' files=
            case "$prev" in
                --if-version) return ;;
                --idempotency-key) return ;;
                --to) return ;;
                --db) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --agent-id) return ;;
                --config) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --cache-dir) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
                --ca-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-key) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --pin) return ;;
                --api-key-file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
            esac ;;
        promote)
            flags='--idempotency-key --help --to --db --agent-id --json --config --cache-dir --ca-cert --client-cert --client-key --pin --api-key-file' words='' files=
            case "$prev" in
                --idempotency-key) return ;;
                --to) return ;;
                --db) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --agent-id) return ;;
                --config) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --cache-dir) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
                --ca-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-key) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --pin) return ;;
                --api-key-file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
            esac ;;
        link)
            flags='--relation --valid-from --valid-until --list --invalidate --remove --idempotency-key --help --to --db --agent-id --json --config --cache-dir --ca-cert --client-cert --client-key --pin --api-key-file' words='' files=
            case "$prev" in
                -r|--relation) COMPREPLY=($(compgen -W 'related_to supersedes contradicts derived_from' -- "$cur")); return ;;
                --valid-from) return ;;
                --valid-until) return ;;
                --idempotency-key) return ;;
                --to) return ;;
                --db) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --agent-id) return ;;
                --config) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --cache-dir) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
                --ca-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-key) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --pin) return ;;
                --api-key-file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
            esac ;;
        graph)
            flags='--help --to --db --agent-id --json --config --cache-dir --ca-cert --client-cert --client-key --pin --api-key-file --depth --valid-at --observed-by --limit --since --until --direction' words='query timeline lineage' files=
            case "$prev" in
                --to) return ;;
                --db) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --agent-id) return ;;
                --config) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --cache-dir) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
                --ca-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-key) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --pin) return ;;
                --api-key-file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --depth) return ;;
                --valid-at) return ;;
                --observed-by) return ;;
                --limit) return ;;
                --since) return ;;
                --until) return ;;
                --direction) COMPREPLY=($(compgen -W 'ancestors descendants' -- "$cur")); return ;;
            esac ;;
        forget)
            flags='--namespace --pattern --tier --confirm-global --idempotency-key --help --to --db --agent-id --json --config --cache-dir --ca-cert --client-cert --client-key --pin --api-key-file' words='' files=
            case "$prev" in
                -n|--namespace) return ;;
                -p|--pattern) return ;;
                -t|--tier) COMPREPLY=($(compgen -W 'short mid long' -- "$cur")); return ;;
                --idempotency-key) return ;;
                --to) return ;;
                --db) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --agent-id) return ;;
                --config) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --cache-dir) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
                --ca-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-key) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --pin) return ;;
                --api-key-file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
            esac ;;
        archive)
            flags='--help --to --db --agent-id --json --config --cache-dir --ca-cert --client-cert --client-key --pin --api-key-file --namespace --limit --offset --jsonl --reason --idempotency-key --older-than-days --all' words='list add restore purge stats' files=
            case "$prev" in
                --to) return ;;
                --db) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --agent-id) return ;;
                --config) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --cache-dir) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
                --ca-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-key) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --pin) return ;;
                --api-key-file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                -n|--namespace) return ;;
                --limit) return ;;
                --offset) return ;;
                --reason) return ;;
                --idempotency-key) return ;;
                --older-than-days) return ;;
            esac ;;
        namespaces)
            flags='--tree --prefix --depth --limit --help --to --db --agent-id --json --config --cache-dir --ca-cert --client-cert --client-key --pin --api-key-file' words='' files=
            case "$prev" in
                --prefix) return ;;
                --depth) return ;;
                --limit) return ;;
                --to) return ;;
                --db) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --agent-id) return ;;
                --config) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --cache-dir) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
                --ca-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-key) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --pin) return ;;
                --api-key-file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
            esac ;;
        stats)
            flags='--help --to --db --agent-id --json --config --cache-dir --ca-cert --client-cert --client-key --pin --api-key-file' words='' files=
            case "$prev" in
                --to) return ;;
                --db) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --agent-id) return ;;
                --config) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --cache-dir) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
                --ca-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-key) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --pin) return ;;
                --api-key-file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
            esac ;;
        status)
            flags='--wait-ready --wait-embedded --peers --max-lag --help --to --db --agent-id --json --config --cache-dir --ca-cert --client-cert --client-key --pin --api-key-file' words='' files=
            case "$prev" in
                --wait-ready) return ;;
                --wait-embedded) return ;;
                --max-lag) return ;;
                --to) return ;;
                --db) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --agent-id) return ;;
                --config) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --cache-dir) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
                --ca-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-key) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --pin) return ;;
                --api-key-file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
            esac ;;
        watch)
            flags='--after --kind --limit --once --help --to --db --agent-id --json --config --cache-dir --ca-cert --client-cert --client-key --pin --api-key-file' words='' files=
            case "$prev" in
                --after) return ;;
                --kind) return ;;
                --limit) return ;;
                --to) return ;;
                --db) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --agent-id) return ;;
                --config) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --cache-dir) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
                --ca-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-key) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --pin) return ;;
                --api-key-file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
            esac ;;
        fleet)
            flags='--from --wait --help --to --db --agent-id --json --config --cache-dir --ca-cert --client-cert --client-key --pin --api-key-file' words='' files=1
            case "$prev" in
                --from) return ;;
                --wait) return ;;
                --to) return ;;
                --db) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --agent-id) return ;;
                --config) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --cache-dir) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
                --ca-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-key) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --pin) return ;;
                --api-key-file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
            esac ;;
        quarantine)
            flags='--help --to --db --agent-id --json --config --cache-dir --ca-cert --client-cert --client-key --pin --api-key-file --peer --kind --all --idempotency-key' words='list rescue drop' files=
            case "$prev" in
                --to) return ;;
                --db) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --agent-id) return ;;
                --config) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --cache-dir) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
                --ca-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-key) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --pin) return ;;
                --api-key-file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --peer) return ;;
                --kind) return ;;
                --idempotency-key) return ;;
            esac ;;
        policy)
            flags='--help --to --db --agent-id --json --config --cache-dir --ca-cert --client-cert --client-key --pin --api-key-file --write --promote --delete --approver --timeout-secs --id --parent --wait --idempotency-key --agent' words='show set clear explain' files=
            case "$prev" in
                --to) return ;;
                --db) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --agent-id) return ;;
                --config) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --cache-dir) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
                --ca-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-key) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --pin) return ;;
                --api-key-file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --write) COMPREPLY=($(compgen -W 'any registered owner approve' -- "$cur")); return ;;
                --promote) COMPREPLY=($(compgen -W 'any registered owner approve' -- "$cur")); return ;;
                --delete) COMPREPLY=($(compgen -W 'any registered owner approve' -- "$cur")); return ;;
                --approver) return ;;
                --timeout-secs) return ;;
                --id) return ;;
                --parent) return ;;
                --wait) return ;;
                --idempotency-key) return ;;
                --agent) return ;;
            esac ;;
        pending)
            flags='--help --to --db --agent-id --json --config --cache-dir --ca-cert --client-cert --client-key --pin --api-key-file --namespace --approver --status --limit --idempotency-key --lost' words='list approve reject cancel reopen watch' files=
            case "$prev" in
                --to) return ;;
                --db) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --agent-id) return ;;
                --config) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --cache-dir) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
                --ca-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-key) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --pin) return ;;
                --api-key-file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                -n|--namespace) return ;;
                --approver) return ;;
                --status) return ;;
                --limit) return ;;
                --idempotency-key) return ;;
                --lost) return ;;
            esac ;;
        agents)
            flags='--help --to --db --agent-id --json --config --cache-dir --ca-cert --client-cert --client-key --pin --api-key-file --skills --rack --agent-type --capabilities --idempotency-key' words='list register' files=
            case "$prev" in
                --to) return ;;
                --db) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --agent-id) return ;;
                --config) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --cache-dir) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
                --ca-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-key) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --pin) return ;;
                --api-key-file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --rack) return ;;
                --agent-type) return ;;
                --capabilities) return ;;
                --idempotency-key) return ;;
            esac ;;
        notify)
            flags='--priority --tier --idempotency-key --help --to --db --agent-id --json --config --cache-dir --ca-cert --client-cert --client-key --pin --api-key-file' words='' files=
            case "$prev" in
                -p|--priority) return ;;
                -t|--tier) COMPREPLY=($(compgen -W 'short mid long' -- "$cur")); return ;;
                --idempotency-key) return ;;
                --to) return ;;
                --db) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --agent-id) return ;;
                --config) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --cache-dir) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
                --ca-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-key) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --pin) return ;;
                --api-key-file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
            esac ;;
        inbox)
            flags='--unread --mark-read --limit --help --to --db --agent-id --json --config --cache-dir --ca-cert --client-cert --client-key --pin --api-key-file' words='' files=
            case "$prev" in
                -l|--limit) return ;;
                --to) return ;;
                --db) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --agent-id) return ;;
                --config) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --cache-dir) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
                --ca-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-key) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --pin) return ;;
                --api-key-file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
            esac ;;
        subscriptions)
            flags='--help --to --db --agent-id --json --config --cache-dir --ca-cert --client-cert --client-key --pin --api-key-file --agent --events --namespace --secret-file --idempotency-key --subscription --limit' words='list add remove dead replay' files=
            case "$prev" in
                --to) return ;;
                --db) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --agent-id) return ;;
                --config) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --cache-dir) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
                --ca-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-key) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --pin) return ;;
                --api-key-file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --agent) return ;;
                --events) return ;;
                -n|--namespace) return ;;
                --secret-file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --idempotency-key) return ;;
                --subscription) return ;;
                --limit) return ;;
            esac ;;
        mcp)
            flags='--help --to --db --agent-id --json --config --cache-dir --ca-cert --client-cert --client-key --pin --api-key-file' words='' files=
            case "$prev" in
                --to) return ;;
                --db) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --agent-id) return ;;
                --config) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --cache-dir) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
                --ca-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-key) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --pin) return ;;
                --api-key-file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
            esac ;;
        allowlist)
            flags='--file --config --cache-dir --help --node --rack --zone --roles --agents --namespaces --home --comment --json --certs --ca-cert --client-cert --client-key --pin --out --inventory --days --config-dir' words='add remove list check mint' files=
            case "$prev" in
                --file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --config) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --cache-dir) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
                --node) return ;;
                --rack) return ;;
                --zone) return ;;
                --roles) return ;;
                --agents) return ;;
                --namespaces) return ;;
                --home) return ;;
                --comment) return ;;
                --certs) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
                --ca-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-key) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --pin) return ;;
                --out) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
                --inventory) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --days) return ;;
                --config-dir) return ;;
            esac ;;
        gc)
            flags='--idempotency-key --help --to --db --agent-id --json --config --cache-dir --ca-cert --client-cert --client-key --pin --api-key-file' words='' files=
            case "$prev" in
                --idempotency-key) return ;;
                --to) return ;;
                --db) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --agent-id) return ;;
                --config) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --cache-dir) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
                --ca-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-key) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --pin) return ;;
                --api-key-file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
            esac ;;
        export)
            flags='--out --object --secrets --help --to --db --agent-id --json --config --cache-dir --ca-cert --client-cert --client-key --pin --api-key-file --store-url' words='' files=
            case "$prev" in
                --out) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --to) return ;;
                --db) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --agent-id) return ;;
                --config) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --cache-dir) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
                --ca-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-key) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --pin) return ;;
                --api-key-file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --store-url) return ;;
            esac ;;
        import)
            flags='--trust-source --help --to --db --agent-id --json --config --cache-dir --ca-cert --client-cert --client-key --pin --api-key-file --store-url' words='' files=
            case "$prev" in
                --to) return ;;
                --db) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --agent-id) return ;;
                --config) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --cache-dir) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
                --ca-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-key) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --pin) return ;;
                --api-key-file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --store-url) return ;;
            esac ;;
        migrate)
            flags='--from --to --merge --verify --retired --dry-run --follow --cutover --lost --unfence --help --json --config --ca-cert --client-cert --client-key --pin --api-key-file' words='' files=
            case "$prev" in
                --from) return ;;
                --to) return ;;
                --lost) return ;;
                --config) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --ca-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-key) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --pin) return ;;
                --api-key-file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
            esac ;;
        store)
            flags='--store-url --config --cache-dir --help --store-read-url --json --apply' words='check tune maintain partition' files=
            case "$prev" in
                --store-url) return ;;
                --config) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --cache-dir) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
                --store-read-url) return ;;
            esac ;;
        backup)
            flags='--to --keep --db --config --help' words='' files=
            case "$prev" in
                --to) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
                --keep) return ;;
                --db) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --config) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
            esac ;;
        restore)
            flags='--db --config --help' words='' files=
            case "$prev" in
                --db) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --config) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
            esac ;;
        units)
            flags='--out --help' words='' files=
            case "$prev" in
                --out) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
            esac ;;
        man)
            flags='--list --help' words='serve push query get update delete promote link graph forget archive namespaces stats status watch fleet quarantine policy pending agents notify inbox subscriptions mcp allowlist gc export import migrate store backup restore units man completion licenses aimem.7 aimem-api aimem-compat aimem-deploy aimem-governance aimem-limits aimem-mesh aimem-recall aimem-store' files=
            case "$prev" in
            esac ;;
        completion)
            flags=--help words='bash zsh fish' files=
            case "$prev" in
            esac ;;
        licenses)
            flags=--help words='' files=
            case "$prev" in
            esac ;;
        *)
            flags='--version --help --to --db --agent-id --json --config --cache-dir --ca-cert --client-cert --client-key --pin --api-key-file' words='serve push query get update delete promote link graph forget archive namespaces stats status watch fleet quarantine policy pending agents notify inbox subscriptions mcp allowlist gc export import migrate store backup restore units man completion licenses' files=
            case "$prev" in
                --to) return ;;
                --db) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --agent-id) return ;;
                --config) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --cache-dir) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
                --ca-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-cert) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --client-key) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                --pin) return ;;
                --api-key-file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
            esac ;;
    esac
    if [[ $cur == -* ]]; then
        COMPREPLY=($(compgen -W "$flags" -- "$cur"))
    elif [[ $words ]]; then
        COMPREPLY=($(compgen -W "$words" -- "$cur"))
    elif [[ $files ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    fi
}
complete -F _aimem aimem
