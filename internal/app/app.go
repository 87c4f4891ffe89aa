// Package app assembles sluice from its configuration: configuration in, parts
// out. The Lambda functions and the command line take their parts from here, so
// that both run the same ones.
//
//	Load ── Config ─┬─ Keys       the keys that mask
//	                ├─ Open       the store, and Migrate its tables
//	                ├─ Pipeline   a store with the models before it
//	                ├─ SQS        one client, made for the first part that needs it
//	                └─ NewHandler all of these: the Lambda function
//
// What the functions must not link comes in through Options: AWS profiles, and
// databases that are not Postgres. Nothing here reaches for the network before
// a part is used.
package app

import (
	"context"
	"log/slog"
	"strings"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/config"
	"example.com/owner/sluice/internal/credentials"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/postgres"
	"example.com/owner/sluice/internal/sqs"
)

// Options are what a main has.
type Options struct {
	Environ map[string]string
	Log     *slog.Logger
	// AWS tells how to use AWS; nil is what the AWS_… variables of Environ say.
	AWS credentials.Loader
	// Lookup finds the addresses of Postgres's host; nil asks the resolver.
	Lookup func(ctx context.Context, host string) ([]string, error)
	// AltDatabase is a kind of database that may stand in for Postgres; nil for none.
	AltDatabase *Database
	// RequestID returns the id of an invocation's request, for its line of metrics; nil outside of
	// Lambda.
	RequestID func(context.Context) string
}

// Database is a kind of database.
type Database struct {
	// Scheme begins the URLs of its databases, as "sqlite:".
	Scheme string
	// Open opens the database of a URL, with the tables of every batch. The names are for its errors.
	Open func(databaseURL string, tables []*batch.Table, names fault.Names) (Store, error)
	// DDL returns the statements that create a table.
	DDL func(*batch.Table) []string
}

// Store is a database with the models' tables.
type Store interface {
	ingest.Store
	Migrate(ctx context.Context, ddl []string) ([]batch.Migrated, error)
	Close()
}

// App is an installation of sluice. It is not safe for concurrent use; the
// parts that it gives are.
type App struct {
	Config *config.Config

	options Options
	secrets *credentials.Credentials
	client  *sqs.Client
}

// Load reads the configuration. Beside an error, the App has what is right of
// it, so that a command can work with that.
func Load(o Options, needs ...config.Need) (*App, error) {
	if o.AWS == nil {
		o.AWS = credentials.Environment(o.Environ)
	}
	c, err := config.Load(o.Environ, needs...)
	a := &App{Config: c, options: o}
	a.secrets = credentials.New(credentials.Options{
		Names:             a.Names(),
		DatabaseSecretARN: c.DatabaseSecretARN, DatabaseIAMAuth: c.DatabaseIAMAuth, MaskSecretARN: c.MaskSecretARN, Log: o.Log, AWS: o.AWS,
	})
	return a, err
}

// Names are what errors call the settings and the commands of this installation.
func (a *App) Names() fault.Names {
	return fault.Names{URL: config.DatabaseVariable(a.options.Environ), Migrate: "sluice migrate", Schema: "sluice schema", Check: "sluice check"}
}

// Keys returns the keys that mask. It may fetch them from their secret.
func (a *App) Keys(ctx context.Context) (*mask.Keyring, error) {
	if a.Config.Keys != nil {
		return a.Config.Keys, nil
	}
	return a.secrets.MaskKeys.Keyring(ctx)
}

// AltDatabase returns the kind of the database if it is not Postgres, else nil.
func (a *App) AltDatabase() *Database {
	if d := a.options.AltDatabase; d != nil && strings.HasPrefix(a.Config.DatabaseURL, d.Scheme) {
		return d
	}
	return nil
}

// Open opens the store. Beside an error, the store is not to be used.
func (a *App) Open() (Store, error) {
	if alt := a.AltDatabase(); alt != nil {
		return alt.Open(a.Config.DatabaseURL, a.Config.Models.Tables(), a.Names())
	}
	return a.Postgres()
}

// Postgres opens the store where AltDatabase returns nil.
func (a *App) Postgres() (*postgres.Store, error) {
	return postgres.Open(a.Config.DatabaseURL, a.Config.Models.Tables(),
		postgres.WithLogins(a.secrets.Database), postgres.WithLog(a.options.Log), postgres.WithNames(a.Names()), postgres.WithLookup(a.options.Lookup))
}

// DDL returns the statements that create the models' tables, in the order in which the models are
// tried.
func (a *App) DDL() (statements []string) {
	seen := map[string]bool{} // two models can share a ledger
	for i, m := range a.Config.Models.Models {
		if m.Ignore {
			continue
		}
		again := false
		for _, sql := range a.ModelDDL(i) {
			if !batch.OfNewTable(sql) {
				again = seen[sql]
				seen[sql] = true
			}
			if !again {
				statements = append(statements, sql)
			}
		}
	}
	return statements
}

// ModelDDL returns the statements that create the tables of the model with an index.
func (a *App) ModelDDL(i int) []string {
	m := a.Config.Models.Models[i]
	if alt := a.AltDatabase(); alt != nil {
		return alt.DDL(m.Table)
	}
	return m.DDL()
}

// Migrate creates the tables that are missing.
func (a *App) Migrate(ctx context.Context) ([]batch.Migrated, error) {
	s, err := a.Open()
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return s.Migrate(ctx, a.DDL())
}

// Pipeline returns a pipeline into the store, and what closes the store, which is
// never nil. It warns where the masks are weak.
func (a *App) Pipeline(ctx context.Context) (p *ingest.Pipeline, stop func(), err error) {
	s, err := a.Open()
	if err != nil {
		return nil, func() {}, &config.ConfigError{Problems: []string{err.Error()}}
	}
	if keys := a.Config.Keys; keys != nil && a.Config.Models.Masks() { // those in a secret warn when they are read
		if what, remedy := keys.Warning(); what != "" {
			a.options.Log.WarnContext(ctx, "the masks are weak", "problem", what, "remedy", remedy)
		}
	}
	return ingest.New(a.Config.Models, s, a.Keys, a.options.Log), s.Close, nil
}

// SQS returns the client of SQS.
func (a *App) SQS(ctx context.Context) (*sqs.Client, error) {
	if a.client == nil {
		client, err := sqs.NewClient(ctx, a.options.AWS)
		if err != nil {
			return nil, err
		}
		a.client = client
	}
	return a.client, nil
}
