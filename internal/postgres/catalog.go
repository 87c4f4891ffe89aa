package postgres

import (
	_ "embed" // for the queries
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
)

//go:embed catalog.sql
var catalogSQL string

// catalogAge is how long the store relies on what the catalog said.
const catalogAge = time.Minute

// catalog is what the server's catalog holds about the table and its ledger: the evidence for whose
// fault an error is.
type catalog struct {
	Relations   []relation   `json:"relations"`
	View        bool         `json:"view"`  // the table is one, and relations are also those below it
	Shown       []string     `json:"shown"` // columns below a view that it shows, perhaps by other names
	Constraints []constraint `json:"constraints"`
	Columns     []column     `json:"columns"`
	Attributes  []string     `json:"attributes"` // names of the columns of all relations
	Functions   []function   `json:"functions"`
	Policy      policy       `json:"policy"`
	Triggers    []string     `json:"triggers"` // those that may change or discard a row
	Sequences   []string     `json:"sequences"`
	Conditions  bool         `json:"conditions"` // triggers, policies or partitions have expressions
	Deferrable  bool         `json:"deferrable"` // constraints of the database can be checked only at COMMIT
	Deferred    string       `json:"deferred"`   // those that are by default, as SQL

	// What follows from the lists, found once: a table of 1,000 partitions has thousands of
	// constraints, and a batch 10,000 refused rows.
	named   map[[3]string]*constraint // by schema, table and name
	adds    bool                      // the database computes something for every row
	mixes   bool                      // it evaluates expressions over more than the model fills
	outside bool                      // a constraint uses columns that the model does not fill
}

// relation is the table, the ledger, or a partition or child of one.
type relation struct {
	Schema string `json:"schema"`
	Name   string `json:"name"`
	Ledger bool   `json:"ledger"`
}

// named reports whether an error names the relation.
func (r relation) named(err *pgconn.PgError) bool {
	return r.Schema == err.SchemaName && r.Name == err.TableName
}

// constraint is a constraint or an index of a relation, with the columns that it uses.
type constraint struct {
	Schema  string   `json:"schema"`
	Table   string   `json:"table"`
	Name    string   `json:"name"`
	Ledger  bool     `json:"ledger"`
	Columns []string `json:"columns"`
	// Expression: it evaluates one, which can fail without naming it. Root: it is the table's own,
	// and not one of a partition or a child.
	Expression bool `json:"expression"`
	Root       bool `json:"root"`
}

type column struct {
	Name      string   `json:"name"`
	Ledger    bool     `json:"ledger"`
	Generated bool     `json:"generated"`
	Bases     []string `json:"bases"`    // what a generated column is made from
	Computed  bool     `json:"computed"` // its default is an expression, not a constant
	Domains   []domain `json:"domains"`
}

type domain struct {
	Schema      string   `json:"schema"`
	Name        string   `json:"name"`
	Constraints []string `json:"constraints"`
}

// named reports whether an error names the domain.
func (d domain) named(err *pgconn.PgError) bool {
	return d.Schema == err.SchemaName && d.Name == err.DataTypeName
}

// function can be called while a row is inserted: by a trigger, a default, a CHECK, a generated
// column, an index or a policy.
type function struct {
	Name    string `json:"name"`
	Quoted  string `json:"quoted"` // as in SQL
	PLpgSQL bool   `json:"plpgsql"`
	SQL     bool   `json:"sql"`    // it can call others that the catalog does not name
	Tables  bool   `json:"tables"` // it seems to use tables, or to call what does
}

// policy is what row-level policies for new rows look at.
type policy struct {
	Table   bool     `json:"table"`   // row-level security of the table is in force
	Ledger  bool     `json:"ledger"`  // and that of the ledger
	Visible bool     `json:"visible"` // the policies for SELECT let every row be seen
	Updates bool     `json:"updates"` // there is a policy for UPDATE
	Columns []string `json:"columns"`
	Beyond  bool     `json:"beyond"` // more than the row: settings, roles, other tables
}

// freshCatalog returns the catalog, or nil if it is not known, or older than catalogAge.
func (d *destination) freshCatalog() *catalog {
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	if d.store.now().Sub(d.learned.catalogReadAt) > catalogAge {
		return nil
	}
	return d.learned.catalog
}

// learn keeps the catalog, if the answer has one.
func (d *destination) learn(a *answer) {
	if len(a.text) == 0 {
		return
	}
	var c catalog
	if json.Unmarshal(a.text, &c) != nil || len(c.Relations) == 0 {
		return
	}
	c.named = make(map[[3]string]*constraint, len(c.Constraints))
	for i := range c.Constraints {
		k := &c.Constraints[i]
		c.named[[3]string{k.Schema, k.Table, k.Name}] = k
		c.outside = c.outside || !d.fillsAll(c.columns(k.Columns, k.Ledger), k.Ledger)
	}
	c.adds, c.mixes = d.addsValues(&c), d.mixesValues(&c)
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	d.learned.catalog, d.learned.catalogReadAt = &c, d.store.now()
}

// covers reports whether an error names the table, the ledger or a part of them.
func (c *catalog) covers(err *pgconn.PgError) bool {
	return slices.ContainsFunc(c.Relations, func(r relation) bool { return r.named(err) })
}

// constraint returns the constraint or index that an error names, or nil.
func (c *catalog) constraint(err *pgconn.PgError) *constraint {
	return c.named[[3]string{err.SchemaName, err.TableName, err.ConstraintName}]
}

// inLedger reports whether an error names the ledger or a part of it.
func (c *catalog) inLedger(err *pgconn.PgError) bool {
	return slices.ContainsFunc(c.Relations, func(r relation) bool { return r.Ledger && r.named(err) })
}

// columns replaces generated columns by those that they are made from.
func (c *catalog) columns(names []string, ledger bool) []string {
	var all []string
	for _, name := range names {
		i := slices.IndexFunc(c.Columns, func(k column) bool { return k.Name == name && k.Ledger == ledger })
		if i >= 0 && c.Columns[i].Generated {
			all = append(all, c.Columns[i].Bases...)
		} else {
			all = append(all, name)
		}
	}
	return all
}

// hasDomains reports whether a type of the table may be a domain, or be made of one.
func (c *catalog) hasDomains() bool {
	return c == nil || slices.ContainsFunc(c.Columns, func(k column) bool { return len(k.Domains) > 0 })
}

// withDomain returns the columns whose type is the domain that an error names, or is made of it.
func (c *catalog) withDomain(err *pgconn.PgError) (names []string, ledger bool) {
	for _, k := range c.Columns {
		if slices.ContainsFunc(k.Domains, func(d domain) bool { return d.named(err) }) {
			names = append(names, k.Name)
			ledger = ledger || k.Ledger
		}
	}
	return names, ledger
}

// function returns the name of the table's function that an error's context names, if any. The
// words of a context follow the server's lc_messages, names do not.
func (c *catalog) function(context string) string {
	if c == nil || context == "" {
		return ""
	}
	for _, f := range c.Functions {
		// PL/pgSQL shows a signature, and other languages show the bare name.
		if contains(context, f.Quoted+"(") || !f.PLpgSQL && contains(context, f.Name) && !c.hasName(f.Name) {
			return f.Name
		}
	}
	// What a function of SQL calls is not in the catalog.
	if i := slices.IndexFunc(c.Functions, func(f function) bool { return f.SQL }); i >= 0 && signature.MatchString(operators.ReplaceAllString(context, "")) {
		return c.Functions[i].Name
	}
	return ""
}

// usesTables reports whether a function of the table uses tables.
func (c *catalog) usesTables(name string) bool {
	return c != nil && slices.ContainsFunc(c.Functions, func(f function) bool { return f.Name == name && f.Tables })
}

// storesOthers reports whether an insert may store more rows than its own.
func (c *catalog) storesOthers() bool {
	return c == nil || slices.ContainsFunc(c.Functions, func(f function) bool { return f.Tables })
}

// signature is how contexts name functions. The queries of foreign keys have operators that look
// like one.
var (
	signature = regexp.MustCompile(`[\w"]\([\w ,."\[\]]*\)`)
	operators = regexp.MustCompile(`OPERATOR\([^)]*\)`)
)

// hasName reports whether a relation or an index has the name, which contexts name too.
func (c *catalog) hasName(name string) bool {
	return slices.ContainsFunc(c.Relations, func(r relation) bool { return r.Name == name }) ||
		slices.ContainsFunc(c.Constraints, func(k constraint) bool { return k.Name == name })
}

// contains reports whether text contains a name that is not a part of a longer one.
func contains(text, name string) bool {
	part := func(r rune) bool {
		return r != utf8.RuneError && (r == '_' || r == '$' || unicode.IsLetter(r) || unicode.IsDigit(r))
	}
	for {
		before, after, found := strings.Cut(text, name)
		if !found {
			return false
		}
		last, _ := utf8.DecodeLastRuneInString(before)
		next, _ := utf8.DecodeRuneInString(after)
		if !part(last) && (strings.HasSuffix(name, "(") || !part(next)) {
			return true
		}
		text = after
	}
}

// knows reports whether the catalog has what an error names, which can be newer.
func (c *catalog) knows(err *pgconn.PgError) bool {
	if err.TableName == "" || raised(err) {
		return true
	}
	return c.constraint(err) != nil || err.ConstraintName == "" && c.covers(err)
}
