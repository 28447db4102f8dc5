#!/bin/bash
# PostgreSQL runs this once, when its volume is empty: a role and a database for each service, which no other can enter.
set -euo pipefail
for service in api provisioner healer monitor addon_manager; do
    password=$(cat "${SECRETS:-/run/secrets}/database_password_$service")
    psql -v ON_ERROR_STOP=1 -v name="$service" -v password="$password" --username "$POSTGRES_USER" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE CONNECT ON DATABASE :"name" FROM PUBLIC;
SQL
done
