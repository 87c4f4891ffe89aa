// Package function assembles the Lambda function from its environment. The
// function's main and `sluice invoke` do it in the same way.
package function

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"sluice/internal/batch"
	"sluice/internal/config"
	"sluice/internal/credentials"
	"sluice/internal/emf"
	"sluice/internal/handler"
	"sluice/internal/ingest"
	"sluice/internal/postgres"
	"sluice/internal/sqs"
)

// Options is what a main gives.
type Options struct {
	Environ map[string]string
	Log     *slog.Logger
	// Metrics gets a line of the embedded metric format for each event; nil
	// for none.
	Metrics io.Writer
	// AWS says how to use AWS; nil is what the AWS_… variables of Environ say.
	AWS credentials.Loader
	// Open opens a store that is not Postgres, where the URL means one; it
	// returns nil for other URLs. The Lambda function has none.
	Open func(databaseURL string, t *batch.Table) (Store, error)
}

// Store is an ingest.Store that holds connections.
type Store interface {
	ingest.Store
	Close()
}

// New makes the handler, and what ends it. A configuration that is wrong
// makes a handler that fails every event with the reason, which is not logged
// here: whoever runs the handler shows its errors. It reaches for no network.
func New(ctx context.Context, o Options) (h *handler.Handler, stop func()) {
	if o.AWS == nil {
		o.AWS = credentials.Environment(o.Environ)
	}
	h = &handler.Handler{Log: o.Log}
	if o.Metrics != nil {
		w := emf.NewWriter(o.Metrics, o.Environ["AWS_LAMBDA_FUNCTION_NAME"], time.Now)
		h.Observe = func(ctx context.Context, r *ingest.Report) {
			if err := w.Write(r); err != nil {
				o.Log.WarnContext(ctx, "no metrics", "error", err.Error())
			}
		}
	}
	stop = func() {}
	c, err := config.Load(o.Environ, config.Database, config.Masks)
	if queueErr := queues(ctx, h, c, o.AWS); queueErr != nil {
		problems := &config.ConfigError{Problems: []string{queueErr.Error()}}
		if others, ok := errors.AsType[*config.ConfigError](err); ok {
			problems.Problems = append(others.Problems, problems.Problems...)
		}
		err = problems
	}
	if err != nil {
		h.Broken = err
		return h, stop
	}
	secrets := credentials.New(credentials.Options{
		DatabaseSecretARN: c.DatabaseSecretARN, DatabaseIAMAuth: c.DatabaseIAMAuth, MaskSecretARN: c.MaskSecretARN, Log: o.Log, AWS: o.AWS,
	})
	store, err := open(o, c, secrets)
	if err != nil {
		h.Broken = &config.ConfigError{Problems: []string{err.Error()}}
		return h, stop
	}
	if h.Keys = secrets.MaskKeys.Keyring; c.Keys != nil {
		h.Keys = handler.Static(c.Keys)
		if what, remedy := c.Keys.Warning(); what != "" && c.Model.Masks() {
			o.Log.WarnContext(ctx, "the masks are weak", "problem", what, "remedy", remedy)
		}
	}
	h.Pipeline = ingest.New(c.Model, store, o.Log)
	return h, store.Close
}

func open(o Options, c *config.Config, secrets *credentials.Credentials) (Store, error) {
	if o.Open != nil {
		if s, err := o.Open(c.DatabaseURL, c.Model.Table); s != nil || err != nil {
			return s, err
		}
	}
	return postgres.Open(c.DatabaseURL, c.Model.Table, postgres.WithLogins(secrets.Database), postgres.WithLog(o.Log))
}

// queues gives the handler what needs SQS. The SDK's client is made only for
// an installation that has one of the two.
func queues(ctx context.Context, h *handler.Handler, c *config.Config, load credentials.Loader) error {
	if c.DeadLetterQueueURL == "" && !c.Backoff {
		return nil
	}
	client, err := sqs.NewClient(ctx, load)
	if err != nil {
		return err
	}
	if c.Backoff {
		h.Backoff = backoff{client}
	}
	if c.DeadLetterQueueURL != "" && c.Model != nil {
		h.DeadLetters = client.DeadLetter(c.DeadLetterQueueURL, "DEAD_LETTER_QUEUE_URL", c.Model.Name)
	}
	return nil
}
