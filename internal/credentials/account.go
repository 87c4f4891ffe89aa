package credentials

import (
	"cmp"
	"context"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"sluice/internal/region"
)

// A call is tried twice. callTime is the most that it takes, pauses included.
const (
	attempts    = 2
	attemptTime = 3 * time.Second
	callTime    = 7 * time.Second
)

// account is AWS as this process may use it. Nothing is loaded before the
// first call.
type account struct {
	load Loader

	mu     sync.Mutex
	loaded *aws.Config
}

func (a *account) config(ctx context.Context) (aws.Config, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.loaded != nil {
		return *a.loaded, nil
	}
	cfg, err := a.load(ctx)
	if err != nil {
		return aws.Config{}, badConfig(err)
	}
	limit(&cfg)
	a.loaded = &cfg
	return cfg, nil
}

// limit says how long and how often a call is tried, where the loader has not said so itself.
func limit(cfg *aws.Config) {
	if cfg.HTTPClient == nil {
		cfg.HTTPClient = awshttp.NewBuildableClient()
	}
	if client, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok && client.GetTimeout() == 0 {
		cfg.HTTPClient = client.WithTimeout(attemptTime)
	}
	if cfg.Retryer == nil {
		cfg.RetryMaxAttempts, cfg.RetryMode = 0, ""
		cfg.Retryer = func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) {
				o.MaxAttempts = attempts
				o.MaxBackoff = time.Second
			})
		}
	}
}

// credentials returns the configuration and the keys that sign, which the
// SDK caches. To ask for them before a call tells a process without any from
// one that is not allowed something.
func (a *account) credentials(ctx context.Context) (aws.Config, aws.Credentials, error) {
	cfg, err := a.config(ctx)
	if err != nil {
		return cfg, aws.Credentials{}, err
	}
	if cfg.Credentials == nil {
		return cfg, aws.Credentials{}, noCredentials(ctx, nil)
	}
	keys, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return cfg, keys, noCredentials(ctx, err)
	}
	return cfg, keys, nil
}

// secret is one secret of Secrets Manager.
type secret struct {
	account  *account
	variable string // the environment variable that names it
	id       string // its ARN or name
}

// String says which secret, for errors.
func (s *secret) String() string { return "the secret of " + s.variable }

// idForm is what the id of a secret looks like. What does not may be the
// secret itself, and is not shown.
var idForm = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(?:arn:[a-z-]+:secretsmanager:([^:]*):[0-9]+:secret:)?[A-Za-z0-9/_+=.@!-]+$`)
})

// read returns the text of the secret's current version.
func (s *secret) read(ctx context.Context) ([]byte, error) {
	form := idForm().FindStringSubmatch(s.id)
	if len(s.id) > 640 || form == nil || strings.HasPrefix(s.id, "arn:") && !region.Valid(form[1]) {
		return nil, operator("%s is neither the ARN nor the name of a secret", s.variable)
	}
	ctx, cancel := within(ctx, callTime)
	defer cancel()
	cfg, _, err := s.account.credentials(ctx)
	if err != nil {
		return nil, err
	}
	cfg.Region = cmp.Or(form[1], cfg.Region)
	if cfg.Region == "" {
		return nil, noRegion(s.variable)
	}
	out, err := secretsmanager.NewFromConfig(cfg).GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &s.id})
	if err != nil {
		return nil, s.unread(ctx, cfg.Region, err)
	}
	if out.SecretString != nil {
		return []byte(*out.SecretString), nil
	}
	return out.SecretBinary, nil
}
