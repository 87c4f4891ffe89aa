package main

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/logging"

	sluiceconfig "sluice/internal/config"
	"sluice/internal/credentials"
)

// loadAWS is a credentials.Loader that knows all that the SDK knows: the
// AWS_… variables, profiles, SSO, roles, and the metadata of a machine.
func loadAWS(ctx context.Context) (aws.Config, error) {
	if err := credentials.CheckEndpoints(sluiceconfig.Environ()); err != nil {
		return aws.Config{}, err
	}
	cfg, err := config.LoadDefaultConfig(ctx, config.WithLogger(logging.Nop{})) // its own logger writes to stderr, past ours
	if err == nil && cfg.BaseEndpoint != nil {
		err = credentials.CheckEndpoint("endpoint_url of the AWS profile", *cfg.BaseEndpoint)
	}
	return cfg, err
}
