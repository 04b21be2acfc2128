{# What DuckDB and Snowflake say differently; nothing else in this project may. #}

{# A point in time as the clock on the listener's wall shows it: a timestamp without a zone. #}
{% macro local_time(at) -%}
    {{ return(adapter.dispatch('local_time', 'spotify_analytics')(at)) }}
{%- endmacro %}

{% macro default__local_time(at) -%} timezone('{{ time_zone() }}', {{ at }}) {%- endmacro %}

{% macro snowflake__local_time(at) -%} to_timestamp_ntz(convert_timezone('{{ time_zone() }}', {{ at }})) {%- endmacro %}

{# Milliseconds since 1970, a whole number. #}
{% macro epoch_ms(at) -%}
    {{ return(adapter.dispatch('epoch_ms', 'spotify_analytics')(at)) }}
{%- endmacro %}

{% macro default__epoch_ms(at) -%} epoch_ms({{ at }}) {%- endmacro %}

{% macro snowflake__epoch_ms(at) -%} date_part(epoch_millisecond, {{ at }}) {%- endmacro %}

{# 1 is Monday, 7 is Sunday (ISO 8601). #}
{% macro iso_weekday(day) -%}
    {{ return(adapter.dispatch('iso_weekday', 'spotify_analytics')(day)) }}
{%- endmacro %}

{% macro default__iso_weekday(day) -%} cast(isodow({{ day }}) as bigint) {%- endmacro %}

{% macro snowflake__iso_weekday(day) -%} cast(dayofweekiso({{ day }}) as bigint) {%- endmacro %}
