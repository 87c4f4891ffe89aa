package postgres

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/message"
)

// describe returns the code of a server's error. Store.shown adds names.
func describe(err *pgconn.PgError) string {
	if ofPooler(err) && endsSession(err) {
		return describeSession(err)
	}
	return message.SQLState(err.Code)
}

// describeSession returns the code and the text of an error of a server that gives no session.
func describeSession(err *pgconn.PgError) string {
	if err.Message == "" {
		return message.SQLState(err.Code)
	}
	return message.SQLState(err.Code) + ": " + oneLine(err.Message)
}

// hint adds to a remedy which command helps, if the caller has one.
func hint(remedy, command, does string) string {
	if command == "" {
		return remedy
	}
	return remedy + ": `" + command + "`" + does
}

// pooled returns what to do when prepared statements are not where they should be.
func (s *Store) pooled() string {
	return "a pooler (PgBouncer, RDS Proxy) may be handing out another session for each transaction: add default_query_exec_mode=exec to " + s.names.URL
}

// secured returns the tables whose row-level security can be meant. The server's error does not
// name them.
func (d *destination) secured(c *catalog) string {
	switch {
	case len(d.children) > 0 && d.table.Ledger == "":
		return table(d.table) + d.orChildren()
	case d.table.Ledger == "" || c != nil && !c.Policy.Ledger:
		return table(d.table)
	case c == nil || c.Policy.Table || c.View:
		return fmt.Sprintf("%s or of its ledger %s", table(d.table), ledger(d.table))
	default:
		return "the ledger " + ledger(d.table)
	}
}

// orChildren continues a sentence about the table for an error that may be about its children: their rows
// are stored by the same statement, and the server's error does not always name a table.
func (d *destination) orChildren() string {
	var all strings.Builder
	for _, child := range d.children {
		all.WriteString(" or of its child " + table(child.table))
	}
	return all.String()
}

// remedy returns what to do about an error of the server.
func (d *destination) remedy(err *pgconn.PgError, j judgement, c *catalog) string {
	table, url := table(d.table), d.store.names.URL
	if k := d.constant(parameterOf(err)); k != nil && !j.rejects && ofText(err) {
		return fmt.Sprintf("the type %s does not take the value that the model has for the column %s: correct value in the model", k.Type, batch.Quote(k.Name))
	}
	switch {
	case j.inside && j.function != "":
		return fmt.Sprintf("it arose in the function %s, which a trigger, default, constraint or policy of %s calls: fix that", batch.Quote(j.function), table)
	case j.inside:
		return "it arose in a trigger or function of " + table + ", not in the table: fix that"
	case j.policy && d.replaces():
		return "row-level security of " + d.secured(c) + " refuses rows: replacing one needs a policy for INSERT, one for SELECT and one for UPDATE, which lets the stored row and the new one pass"
	case j.policy:
		return "row-level security of " + d.secured(c) + " refuses every row: check the policies for INSERT, and the settings that they read"
	}
	switch err.Routine {
	case "check_enable_rls":
		return "row-level security of " + d.secured(c) + " is in force, and the role has row_security = off, which makes a query fail that a policy would filter: ALTER ROLE … SET row_security = on"
	case "nextval_internal":
		sequences := "its sequences"
		if c != nil && len(c.Sequences) > 0 {
			sequences = strings.Join(c.Sequences, ", ")
		}
		if err.Code == "42501" {
			return fmt.Sprintf("a default of %s takes numbers from a sequence: grant the role USAGE on %s", table, sequences)
		}
		return fmt.Sprintf("a sequence of %s has no more numbers (%s): ALTER SEQUENCE … MAXVALUE, and a wider column if it needs one", table, sequences)
	case "GetNewTransactionId", "GetNewMultiXactId":
		return "the database is out of transaction ids: VACUUM it, and look for old transactions, prepared transactions and replication slots"
	case "PreCommit_Notify", "asyncQueueAddEntries":
		return "the queue of NOTIFY is full: end the session that listens and does not read, pg_notification_queue_usage() shows how full it is"
	}
	if atRuntime(err) {
		return "an expression of " + table + " fails: check its defaults, generated columns, constraints and policies, and the settings that they read"
	}
	switch err.Code {
	case "42P01", "3F000":
		what := "create the table " + table
		if d.table.Ledger != "" { // the server's error has no field that says which it is
			what += " or its ledger " + ledger(d.table) + ", whichever is missing"
		}
		var children []string
		for _, child := range d.table.Children {
			children = append(children, " or its child "+batch.QuoteTable(child.Schema, child.Name)+", whichever is missing")
		}
		what += strings.Join(children, "")
		create := hint(what, d.store.names.Migrate, "")
		if d.store.names.Migrate != "" && d.store.names.Schema != "" {
			create += ", or `" + d.store.names.Schema + "` prints the SQL"
		}
		if d.table.Schema != "" { // a missing schema gives the same error
			create += "; " + createSchema(d.table)
		}
		return create
	case "42703":
		remedy := hint("the table lacks a column of the model", d.store.names.Check, " names it")
		if d.store.names.Schema != "" {
			remedy += ", and `" + d.store.names.Schema + "` prints the SQL that the model means"
		}
		return remedy
	case "42501":
		schema := ""
		if d.table.Schema != "" {
			schema = "USAGE on the schema " + batch.Quote(d.table.Schema) + ", "
		}
		// The server's error has no field that says which it is.
		tables := "INSERT on " + table
		if d.table.Ledger != "" {
			tables += ", INSERT on " + ledger(d.table)
		}
		columns := "the columns of its key"
		switch {
		case d.replaces():
			tables, columns = "INSERT and UPDATE on "+table, "the columns that the model fills"
		case d.table.FindsConflicts():
			columns = "the columns of its key and those that are compared, with message_id"
		case d.parent != nil && d.parent.replaces():
			tables = "INSERT, UPDATE and DELETE on " + table
		}
		for _, child := range d.children {
			insert, key := "INSERT", ""
			if d.replaces() {
				insert, key = "INSERT, UPDATE and DELETE", " and SELECT on the columns of its key"
			}
			columns += fmt.Sprintf(", %s on its child %s%s", insert, batch.QuoteTable(child.table.Schema, child.table.Name), key)
		}
		return hint(fmt.Sprintf("the role lacks a grant: %s%s and SELECT on %s, or EXECUTE on a function or USAGE on a sequence or schema that triggers, defaults and constraints use", schema, tables, columns), d.store.names.Check, " names what is missing on the tables")
	case "42P10", "55000":
		return hint(fmt.Sprintf("the table has no usable unique key on (%s)", strings.Join(d.table.KeyNames(), ", ")), d.store.names.Schema, " prints the one that it needs")
	case "0A000":
		return "INSERT … ON CONFLICT does not work where " + table + " has a rule for INSERT (use a trigger instead), where a partition takes no such INSERT, and where a trigger moves a row to another partition"
	case "42704":
		if d.asText {
			return "the database lacks one of the types " + strings.Join(d.typesAsText(), ", ") + ": " + lacksType
		}
	case "42804":
		return hint("a column of the table has another type than the model says", d.store.names.Check, " lists all such columns, and what to do")
	case "428C9":
		return hint("the database generates a column that the model fills: take it out of the model", d.store.names.Check, " names it")
	case "23502":
		switch own := d.ownNames(err, c); {
		case own.column != "":
			return "the table has a NOT NULL column " + batch.Quote(own.column) + " that the model does not fill; give it a default, or add it to the model"
		case own.domain != "":
			return fmt.Sprintf("the domain %s does not allow NULL, and the model does not fill a column of %s that has it; give it a default, or add it to the model", batch.Quote(own.domain), table)
		}
	case "23514":
		if ofPartitions(err) {
			of := table
			if c != nil && c.inLedger(err) {
				of = "the ledger " + ledger(d.table)
			}
			return "no partition of " + of + " takes the row; create it"
		}
	case "25006":
		return "this server is a replica or read only, which passes when the fail-over is done, or default_transaction_read_only is on for the role, the database or in " + url
	case "55P03":
		return "another session holds a lock on the table for longer than the role's lock_timeout: look for it in pg_locks"
	case "57014":
		return "the role's statement_timeout or an administrator ended it; if it goes on, look for locks in pg_locks"
	case "26000", "42P05":
		return d.store.pooled()
	case "08P01":
		if strings.Contains(err.Message, "prepared statement") {
			return d.store.pooled()
		}
		return d.store.sessionRemedy(err, &d.store.target.parsed.Config)
	case "53300":
		return "lower the number of concurrent invocations, or raise max_connections"
	}
	if c != nil {
		if k := c.constraint(err); k != nil && slices.ContainsFunc(k.Columns, d.isConstant) {
			return "it is about the value that the model has for a column: correct value in the model, or the constraint " + batch.Quote(k.Name)
		}
	}
	switch classOf(err.Code) {
	case "22", "23", "54":
		return "it is about columns of " + table + " that the model does not fill: check their defaults, constraints and sequences"
	}
	return ""
}

// sessionRemedy returns what to do if the server gives no session.
func (s *Store) sessionRemedy(err *pgconn.PgError, c *pgconn.Config) string {
	const maxClients = "lower the number of concurrent invocations, or raise the limit: max_connections, CONNECTION LIMIT of the role or the database, or that of the pooler"
	text, url := strings.ToLower(err.Message), s.names.URL
	if name := s.culprit(err, c); name != "" {
		where := s.target.url.source(name)
		if err.Code == "42704" || err.Code == "08P01" {
			return fmt.Sprintf("%s is not a setting of this server, nor a parameter that pgx knows: take it out of %s", name, where)
		}
		return fmt.Sprintf("correct %s in %s, or take it out", name, where)
	}
	switch err.Code {
	case "28P01", "28000":
		return "check the user and the password in " + url + ", and the server's pg_hba.conf"
	case "3D000":
		return "check the name of the database at the end of " + url
	case "42501":
		if err.Routine == "CheckMyDatabase" {
			return fmt.Sprintf("GRANT CONNECT ON DATABASE %s TO %s", batch.Quote(c.Database), batch.Quote(c.User))
		}
		return "the role lacks the privilege for one of its settings: check the parameters in " + url
	case "55000":
		return fmt.Sprintf("if the database should take connections: ALTER DATABASE %s ALLOW_CONNECTIONS true; else check the name of the database in %s", batch.Quote(c.Database), url)
	case "42704", "42601", "42602", "22023", "55P02":
		return "check the parameters in " + url + ", such as options, and PGOPTIONS"
	case "53300":
		return maxClients
	case "57P03":
		return "it passes when the server is up"
	case "25006":
		return "this server is a replica or read only; it passes when the fail-over is done"
	case "58P01":
		return "a file that the server loads for each session is missing there: check session_preload_libraries"
	case "P0001":
		return "a login event trigger of the database refuses the session: check it"
	case "08P01":
		switch {
		case strings.Contains(text, "no more connections") || strings.Contains(text, "connections exceeded"):
			return maxClients
		case strings.Contains(text, "ssl required") || strings.Contains(text, "requires tls"):
			return fmt.Sprintf("the pooler wants TLS: set sslmode=verify-full (%s)", s.target.url.source("sslmode"))
		case poolerRefuses(err):
			return "the pooler refuses it: check database, user, password and parameters in " + url + ", and the pooler's own configuration"
		}
		return "this error is the pooler's: check that it reaches its server"
	}
	return ""
}

// culprit returns the parameter that an error is about: of those that were sent, the one that it
// quotes. The words around it depend on the server's language.
func (s *Store) culprit(err *pgconn.PgError, c *pgconn.Config) string {
	if !ofParameter(err) {
		return ""
	}
	for _, name := range slices.Sorted(maps.Keys(c.RuntimeParams)) {
		if name == "client_encoding" || name == "application_name" {
			continue
		}
		if quoted := strings.ToLower(name); strings.Contains(strings.ToLower(err.Message), `"`+quoted+`"`) || strings.HasSuffix(strings.ToLower(err.Message), ": "+quoted) {
			return name
		}
	}
	return ""
}

// migrateRemedy returns what to do about an error that CREATE TABLE meets for another reason than
// INSERT, and nothing for other errors.
func (d *destination) migrateRemedy(code string) string {
	switch {
	case code == "42704" && slices.ContainsFunc(d.table.Columns, func(c batch.Column) bool { return strings.HasPrefix(c.Type, "citext") }):
		return "the type citext comes with an extension: CREATE EXTENSION citext, in this database and as a role that may, and see that its schema is in the role's search_path"
	case code == "42501":
		schema := "schema"
		if d.table.Schema != "" {
			schema += " " + batch.Quote(d.table.Schema)
		}
		return "grant the role CREATE and USAGE on the " + schema + ", or let the owner of the tables migrate"
	case code == "3F000" && d.table.Schema != "":
		return createSchema(d.table) + "; only tables are created here"
	case code == "3F000":
		return "no schema in the role's search_path exists: create one of them, as in CREATE SCHEMA public, change the search_path, or name an existing schema in the model, as in table: public." + d.table.Name
	}
	return ""
}

// createSchema returns how to create the schema of a model's table.
func createSchema(t *batch.Table) string {
	return fmt.Sprintf("the schema %[1]s must exist: CREATE SCHEMA IF NOT EXISTS %[1]s", batch.Quote(t.Schema))
}
