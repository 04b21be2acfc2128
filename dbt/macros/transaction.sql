{# dbt-snowflake's macro, which puts the statements of a strategy into one transaction; here with a way out for a server
   that takes no BEGIN (fakesnow's, docs/cloud.md). #}
{% macro snowflake_dml_explicit_transaction(dml) -%}
    {%- if env_var('DBT_SNOWFLAKE_TRANSACTIONS', 'true') == 'false' -%}
        {{ return(dml) }}
    {%- endif -%}
    {{ return('begin;\n' ~ dml ~ ';\ncommit;') }}
{%- endmacro %}
