{# What `playlake build` says of this run, or else the var of this project. Read while running, not while parsing: dbt
   would parse the whole project anew for each new value. #}
{% macro setting(name) -%}
    {{ return(env_var('DBT_PLAYLAKE_' ~ name | upper, var(name) | string) if execute else var(name) | string) }}
{%- endmacro %}

{# This build's number: milliseconds since 1970 unless `playlake build` gives one. #}
{% macro build_number() -%}
    {%- set given = setting('build_number') -%}
    {{ return(given if given != '0' else (run_started_at.timestamp() * 1000) | int) }}
{%- endmacro %}
