# A query without an end.
sqlite3 :memory: 'with recursive t(x) as (select 1 union all select x + 1 from t) select count(*) from t'
