package postgres

// TypeNames are types as a model writes them, by their names in pg_type. A length follows some.
var TypeNames = map[string]string{
	"varchar": "varchar", "text": "text", "bpchar": "char", "citext": "citext", "int2": "smallint", "int4": "integer", "int8": "bigint",
	"numeric": "numeric", "float4": "real", "float8": "double precision", "bool": "boolean", "timestamptz": "timestamptz", "timestamp": "timestamp",
	"date": "date", "time": "time", "interval": "interval", "uuid": "uuid", "inet": "inet", "cidr": "cidr", "bytea": "bytea", "json": "json", "jsonb": "jsonb",
}

// RewritesText is a condition in SQL: whether the input function of a built-in type, or of a part of
// another type, stores something else than the text says. Those of dates, times and booleans read
// words such as now and yes, and others round, cut or look up what they read. Its columns are type,
// the name in pg_type; typmod; cuts, whether the type cuts blanks beyond a length; and inner_part,
// false for a type of its own and for what a domain is over.
const RewritesText = `(type IN ('date', 'time', 'timetz', 'timestamp', 'timestamptz', 'interval', 'money', 'name', 'char', 'oid', 'xid', 'cid', 'tid', 'aclitem', 'bool', 'float4', 'float8')
	OR type LIKE 'reg%' OR type = 'numeric' AND typmod >= 0 OR cuts AND inner_part)`
