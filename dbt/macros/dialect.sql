{# What DuckDB and Snowflake say differently; nothing else in this project may ask for the target.

   Points in time are instants: `timestamp with time zone` in DuckDB, TIMESTAMP_TZ in Snowflake. The data test
   dialect_says_the_same.sql holds both to the same answers. #}

{# A point in time as a clock on the wall shows it: a timestamp without a zone. The zone is the listener's (setting
   time_zone), or given as SQL ('Europe/Berlin', a column). #}
{% macro local_time(at, zone=none) -%}
    {{ return(adapter.dispatch('local_time', 'spotify_analytics')(at, zone or "'" ~ setting('time_zone') ~ "'")) }}
{%- endmacro %}

{% macro default__local_time(at, zone) -%} timezone({{ zone }}, {{ at }}) {%- endmacro %}

{# With two arguments convert_timezone keeps the instant and changes the offset; to_timestamp_ntz then leaves it out. #}
{% macro snowflake__local_time(at, zone) -%} to_timestamp_ntz(convert_timezone({{ zone }}, {{ at }})) {%- endmacro %}

{# The day that a calendar on the wall shows. #}
{% macro date_of_local_time(at, zone=none) -%} cast({{ local_time(at, zone) }} as date) {%- endmacro %}

{# 1 is Monday, 7 is Sunday (ISO 8601). #}
{% macro iso_weekday(day) -%}
    {{ return(adapter.dispatch('iso_weekday', 'spotify_analytics')(day)) }}
{%- endmacro %}

{% macro default__iso_weekday(day) -%} cast(isodow({{ day }}) as bigint) {%- endmacro %}

{% macro snowflake__iso_weekday(day) -%} cast(dayofweekiso({{ day }}) as bigint) {%- endmacro %}

{# Milliseconds from one point in time to another, a whole number; below 0 where that is earlier. #}
{% macro ms_between(at, later) -%}
    {{ return(adapter.dispatch('ms_between', 'spotify_analytics')(at, later)) }}
{%- endmacro %}

{% macro default__ms_between(at, later) -%} date_diff('millisecond', {{ at }}, {{ later }}) {%- endmacro %}

{% macro snowflake__ms_between(at, later) -%} datediff(millisecond, {{ at }}, {{ later }}) {%- endmacro %}

{# Milliseconds since 1970, a whole number. #}
{% macro epoch_ms(at) -%}
    {{ return(adapter.dispatch('epoch_ms', 'spotify_analytics')(at)) }}
{%- endmacro %}

{% macro default__epoch_ms(at) -%} epoch_ms({{ at }}) {%- endmacro %}

{% macro snowflake__epoch_ms(at) -%} date_part(epoch_millisecond, {{ at }}) {%- endmacro %}

{# Bronze, without the files that hold nothing new: on DuckDB a view that a build makes; Snowflake leaves them out itself
   where their statistics say so. #}
{% macro came_since(topic) -%}
    {{ return(adapter.dispatch('came_since', 'spotify_analytics')(topic)) }}
{%- endmacro %}

{% macro default__came_since(topic) -%} {{ return(source('bronze', 'new_' ~ topic)) }} {%- endmacro %}

{% macro snowflake__came_since(topic) -%} {{ return(source('bronze', topic)) }} {%- endmacro %}

{# A text in Unicode's composed form (NFC). Snowflake has no function for it: there, letters that are written with
   combining marks stay other letters. #}
{% macro composed(text) -%}
    {{ return(adapter.dispatch('composed', 'spotify_analytics')(text)) }}
{%- endmacro %}

{% macro default__composed(text) -%} nfc_normalize({{ text }}) {%- endmacro %}

{% macro snowflake__composed(text) -%} {{ text }} {%- endmacro %}

{# Now, as an instant. Not named current_timestamp: dbt has a macro of that name, without a zone. #}
{% macro now_utc() -%}
    {{ return(adapter.dispatch('now_utc', 'spotify_analytics')()) }}
{%- endmacro %}

{% macro default__now_utc() -%} current_timestamp {%- endmacro %}

{% macro snowflake__now_utc() -%} cast(convert_timezone('UTC', current_timestamp) as timestamp_tz) {%- endmacro %}
