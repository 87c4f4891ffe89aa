package main

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/logging"
)

// loadAWS is a credentials.Loader that knows all that the SDK knows: the
// AWS_… variables, profiles, SSO, roles, and the metadata of a machine.
func loadAWS(ctx context.Context) (aws.Config, error) {
	return config.LoadDefaultConfig(ctx, config.WithLogger(logging.Nop{})) // its own logger writes to stderr, past ours
}
