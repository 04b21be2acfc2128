#!/bin/sh
# The containers' stack: `scripts/stack.sh up`, `down` (the data stays), `logs`. `make up` and its like call this.
# Exit code 2: something here must be put right first; 1: it failed.
set -eu
cd "$(dirname "$0")/.."

env_file="${STACK_ENV_FILE:-.env}"

fail() { code="$1"; shift; echo "playlake: $*" >&2; exit "$code"; }
compose() { COMPOSE_PROFILES="$profiles" docker compose --env-file "$env_file" -f compose/compose.yaml "$@"; }

# PROFILES names what is wanted beside the usual: `orchestration` (Airflow, in the builder's place), `ui` (a console).
orchestrated=""
unwanted=""
choose_profiles() {
    profiles="$(value PROFILES | tr -s ', ' ',,' | sed 's/^,//; s/,$//')"
    set -f
    for profile in $(echo "$profiles" | tr ',' ' '); do
        case "$profile" in
            orchestration) orchestrated=yes ;;
            ui) ;;
            *) fail 2 "PROFILES=$profiles: there is no profile $profile. Write orchestration, ui, or both with a comma." ;;
        esac
    done
    set +f
    if [ -n "$orchestrated" ]; then
        unwanted="builder"
    else
        unwanted="dag-processor orchestrator scheduler metadata"
        profiles="builder${profiles:+,$profiles}"
    fi
    case ",$profiles," in *,ui,*) ;; *) unwanted="$unwanted console" ;; esac
}

need_docker() {
    command -v docker >/dev/null 2>&1 ||
        fail 1 "Docker is not installed here. Install it with Compose, or run \`make demo\`, which needs neither."
    docker info >/dev/null 2>&1 ||
        fail 1 "Docker does not answer (is it started, and may $(id -un) use it?). \`make demo\` runs without it."
    docker compose version >/dev/null 2>&1 ||
        fail 1 "Docker has no Compose here (\`docker compose\`). Install its plugin, or run \`make demo\`, which needs neither."
}

random() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }

SECRETS="S3_ACCESS_KEY S3_SECRET_KEY REDIS_PASSWORD"
AIRFLOW_SECRETS="AIRFLOW_DB_PASSWORD AIRFLOW_SECRET_KEY AIRFLOW_PASSWORD"

make_env() {
    [ ! -e "$env_file" ] || return 0
    metadata="${STACK_NAME:-playlake}_metadata"
    if docker volume ls --quiet | grep -qx "$metadata"; then
        fail 2 "There is no $env_file, but Airflow's database of an earlier one, which keeps its password. Bring that file back, or give Airflow's past runs up: docker volume rm $metadata"
    fi
    (
        umask 077
        {
            echo "# Made by make up. compose/README.md lists what else can be set here. Keep it to yourself."
            echo "S3_ACCESS_KEY=playlake-$(random 6)"
            echo "S3_SECRET_KEY=$(random 24)"
            echo "REDIS_PASSWORD=$(random 24)"
            echo "AIRFLOW_DB_PASSWORD=$(random 24)"
            echo "AIRFLOW_SECRET_KEY=$(random 32)"
            echo "AIRFLOW_PASSWORD=$(random 12)"
        } > "$env_file.new"
        mv "$env_file.new" "$env_file"
    )
    echo "playlake: $env_file made, with random secrets" >&2
}

# What a variable is: from the environment, else from .env.
value() {
    eval "given=\${$1-}"
    [ -z "$given" ] || { echo "$given"; return; }
    sed -n "s/^[[:space:]]*\(export \)\{0,1\}$1[[:space:]]*=[[:space:]]*//p" "$env_file" | tail -n 1 |
        sed "s/[[:space:]]#.*$//; s/[[:space:]]*$//; s/^[\"']//; s/[\"']$//"
}

check_env() {
    missing=""
    known=""
    strange=""
    [ -z "$orchestrated" ] || SECRETS="$SECRETS $AIRFLOW_SECRETS"
    for name in $SECRETS; do
        case "$(value "$name")" in
            "") missing="$missing $name" ;;
            *[!A-Za-z0-9._~-]*) strange="$strange $name" ;;
            ? | ?? | ??? | ???? | ????? | ?????? | ??????? | ???????? | ????????? | ?????????? | ??????????? | \
            minio | minioadmin | admin | root | password | secret | changeme | change-me | playlake | redis | postgres | airflow | test)
                known="$known $name" ;;
        esac
    done
    [ -z "$missing" ] ||
        fail 2 "Missing in $env_file:$missing. Add them (any long random text), or move it away and \`make up\` makes a new one."
    [ -z "$strange" ] ||
        fail 2 "In $env_file, these hold characters that an address can't:$strange. Use letters, digits and . _ ~ - only."
    bind="$(value STACK_BIND)"
    case "${bind:-127.0.0.1}" in
        *[!0-9.]*) fail 2 "STACK_BIND=$bind is no IPv4 address. Write 127.0.0.1, or 0.0.0.0 for every address of this machine." ;;
        127.*) ;;
        *) [ -z "$known" ] ||
            fail 2 "STACK_BIND=$bind opens the stack to the network, and these secrets in $env_file are known to everyone or shorter than 12 characters:$known. Change them." ;;
    esac
    key="$(value S3_SECRET_KEY)"
    case "$(value FEED)" in "" | 0 | 1) ;; *) fail 2 "FEED=$(value FEED) in $env_file is neither 0 (no simulated listening) nor 1." ;; esac
    [ "$(value STACK_UID)" != 0 ] || fail 2 "STACK_UID=0 is root, as which our services never run. Write another number, or leave it out."
    [ "${#key}" -ge 8 ] || fail 2 "S3_SECRET_KEY in $env_file has ${#key} characters; the object store wants 8 or more."
}

check_inbox() {
    inbox="$(value INBOX)"
    case "$inbox" in
        "") inbox=inbox ;;
        /*) ;;
        *) fail 2 "INBOX=$inbox in $env_file is no absolute path, which Compose needs. Write $(pwd)/$inbox." ;;
    esac
}

check_disk() {
    wanted="$(value STACK_MIN_FREE_MB)"; wanted="${wanted:-4096}"
    case "$wanted" in *[!0-9]*) fail 2 "STACK_MIN_FREE_MB=$wanted is no number of MiB." ;; esac
    folder="$(docker info --format '{{.DockerRootDir}}')"
    [ -d "$folder" ] || return 0 # Docker's own machine, as on macOS
    free="$(df -Pm "$folder" | awk 'NR == 2 {print $4}')"
    [ "$free" -ge "$wanted" ] ||
        fail 1 "Too little disk for the stack: $free MiB free at $folder, $wanted wanted. Free some, or set STACK_MIN_FREE_MB."
}

check_ports() {
    project="$(value STACK_NAME)"
    running="$(docker ps --quiet --filter "label=com.docker.compose.project=${project:-playlake}")"
    own=""
    # shellcheck disable=SC2086
    [ -z "$running" ] || own="$(docker inspect -f '{{range .NetworkSettings.Ports}}{{range .}}{{.HostPort}} {{end}}{{end}}' $running | tr '\n' ' ')"
    pairs="KAFKA_PORT=19092 S3_PORT=9000 S3_CONSOLE_PORT=9001 REDIS_PORT=6379 API_PORT=8000 DASHBOARD_PORT=8501"
    [ -z "$orchestrated" ] || pairs="$pairs AIRFLOW_PORT=8080"
    case ",$profiles," in *,ui,*) pairs="$pairs CONSOLE_PORT=8090" ;; esac
    seen=""
    for pair in $pairs; do
        name="${pair%%=*}"
        port="$(value "$name")"; port="${port:-${pair#*=}}"
        case "$port" in *[!0-9]*) fail 2 "$name=$port is no port. Write a number from 1 to 65535." ;; esac
        { [ "$port" -ge 1 ] && [ "$port" -le 65535 ]; } || fail 2 "$name=$port is no port. Write a number from 1 to 65535."
        case " $seen " in *" $port "*) fail 2 "$name=$port is the port of another service too. Give each one of its own." ;; esac
        seen="$seen $port"
        case " $own" in *" $port "*) continue ;; esac # ours, from an earlier `make up`
        command -v bash >/dev/null 2>&1 || continue
        if bash -c "exec 3<>/dev/tcp/127.0.0.1/$port" 2>/dev/null; then
            fail 1 "Port $port is taken. End that program, or set another $name in $env_file."
        fi
    done
}

up() {
    need_docker
    make_env
    choose_profiles
    check_env
    check_inbox
    check_disk
    check_ports
    mkdir -p "$inbox"
    if [ "$(id -u)" = 0 ]; then
        chown 10001:0 "$inbox" # our services never run as root
    else
        STACK_UID="$(id -u)"; export STACK_UID
    fi
    compose build --quiet writer >&2 || fail 1 "the image could not be built; see above."
    if [ -n "$orchestrated" ]; then # it is made from the one before
        compose build --quiet scheduler >&2 || fail 1 "Airflow's image could not be built; see above."
    fi
    # What an earlier `make up` with other profiles has started would build beside what is wanted now.
    # shellcheck disable=SC2086
    (profiles='*'; compose rm --stop --force $unwanted >/dev/null 2>&1) ||
        fail 1 "what an earlier \`make up\` started could not be stopped: $unwanted; \`docker ps\` shows it."
    compose up --detach --wait --wait-timeout "${STACK_TIMEOUT_S:-600}" >&2 ||
        fail 1 "not every service became healthy; \`make logs\` and \`docker ps\` say which, \`make down\` stops it."
    if [ "$(value FEED)" != 0 ]; then
        compose exec -T api playlake wait --for "${STACK_TIMEOUT_S:-600}s" || fail 1 "the dashboard has nothing to show yet; \`make logs\` says why."
    fi
    host="$(value STACK_BIND)"; host="${host:-127.0.0.1}"; [ "$host" != 0.0.0.0 ] || host=127.0.0.1
    port() { found="$(value "$1")"; echo "${found:-$2}"; }
    echo "dashboard  http://$host:$(port DASHBOARD_PORT 8501)"
    echo "API        http://$host:$(port API_PORT 8000)/health"
    echo "S3         http://$host:$(port S3_PORT 9000) (console: $(port S3_CONSOLE_PORT 9001)); keys in $env_file"
    echo "Kafka      $host:$(port KAFKA_PORT 19092)"
    if [ -n "$orchestrated" ]; then
        echo "Airflow    http://$host:$(port AIRFLOW_PORT 8080) (admin; AIRFLOW_PASSWORD in $env_file)"
    fi
    case ",$profiles," in *,ui,*) echo "Console    http://$host:$(port CONSOLE_PORT 8090)" ;; esac
    echo "Drop a Spotify export into $inbox/ and it is imported; its receipt comes beside it."
}

# For what needs no secret, and must work without them.
look_only() {
    need_docker
    profiles='*'
    [ -e "$env_file" ] || env_file=/dev/null
    for name in $SECRETS; do
        [ -n "$(value "$name")" ] || export "$name=unused"
    done
}

case "${1:-}" in
    up) up ;;
    down) look_only; compose down --remove-orphans ;;
    logs) look_only; compose logs --follow --tail 100 ;;
    *) fail 2 "say up, down or logs" ;;
esac
