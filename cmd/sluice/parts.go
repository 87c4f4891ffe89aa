package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/logging"

	"example.com/owner/sluice/internal/app"
	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/config"
	"example.com/owner/sluice/internal/credentials"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/sqlite"
	"example.com/owner/sluice/internal/sqs"
)

// load reads the configuration, and returns the parts that it describes.
func (con *console) load(needs ...config.Need) (*app.App, error) {
	return app.Load(con.options(con.log()), needs...)
}

// options are what the command line has and the Lambda function does not link:
// AWS profiles, and SQLite.
func (con *console) options(log *slog.Logger) app.Options {
	open := func(databaseURL string, tables []*batch.Table, names fault.Names) (app.Store, error) {
		return sqlite.Open(databaseURL, tables, names)
	}
	return app.Options{Environ: con.environ, Log: log, AWS: loadAWS, AltDatabase: &app.Database{Scheme: "sqlite:", Open: open, DDL: sqlite.DDL}}
}

// openQueue opens the queue of a flag, or of a variable when the flag is not
// given. Only the names of variables must be right, not all of the configuration.
func (con *console) openQueue(ctx context.Context, parts *app.App, queueURL, variable, flag string) (*sqs.Queue, error) {
	if problems := config.Unknown(con.environ); problems != nil {
		return nil, &config.ConfigError{Problems: problems}
	}
	setting := flag
	if queueURL == "" {
		setting = variable
		if queueURL = con.environ[variable]; queueURL == "" {
			return nil, &config.ConfigError{Problems: []string{fmt.Sprintf("%s is not set; set it to the URL of the queue, as in https://sqs.eu-central-1.amazonaws.com/123456789012/logins (or give %s)", variable, flag)}}
		}
	}
	client, err := parts.SQS(ctx)
	if err != nil {
		return nil, err
	}
	return sqs.Open(ctx, client, queueURL, setting)
}

// loadAWS is a credentials.Loader that knows all that the SDK knows: the
// AWS_… variables, profiles, SSO, roles, and the metadata of a machine.
func loadAWS(ctx context.Context) (aws.Config, error) {
	if err := credentials.CheckEndpoints(config.Environ()); err != nil {
		return aws.Config{}, err
	}
	cfg, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithLogger(logging.Nop{})) // the SDK's own logger writes to stderr
	if err == nil && cfg.BaseEndpoint != nil {
		err = credentials.CheckEndpoint("endpoint_url of the AWS profile", *cfg.BaseEndpoint)
	}
	return cfg, err
}

// shownURL returns a queue's URL without the parts that can hold a secret.
func shownURL(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host + u.Path
}
