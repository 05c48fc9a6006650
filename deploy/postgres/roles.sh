#!/bin/bash
# Runs once, when the database is created: one role for the migration, one for the application, neither a superuser.
set -euo pipefail
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
  --set database="$POSTGRES_DB" \
  --set crossfade_password="$CROSSFADE_PASSWORD" \
  --set app_password="$APP_PASSWORD" <<'SQL'
CREATE ROLE crossfade LOGIN PASSWORD :'crossfade_password';
CREATE ROLE app LOGIN PASSWORD :'app_password';
-- What the migration needs: schema "crossfade", and tables in schema public.
GRANT CREATE ON DATABASE :"database" TO crossfade;
GRANT CREATE ON SCHEMA public TO crossfade;
-- Lets replay switch foreign-key actions off, so that foreign keys can be there before the cutover.
GRANT SET ON PARAMETER session_replication_role TO crossfade;
-- The tables will belong to the migration's role; the application may use them from the first moment.
ALTER DEFAULT PRIVILEGES FOR ROLE crossfade IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO app;
SQL
