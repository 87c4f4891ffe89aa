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
)

// A call is tried twice. callTime limits all of it, pauses included.
const (
	attempts    = 2
	attemptTime = 3 * time.Second
	callTime    = 7 * time.Second
)

// account is AWS as this process may use it. Its configuration is loaded by the
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
		// The SDK's error names variables, profiles and files.
		return aws.Config{}, misconfigured("the AWS SDK cannot be set up: "+err.Error(), "check AWS_PROFILE and the other AWS_ variables")
	}
	setLimits(&cfg)
	a.loaded = &cfg
	return cfg, nil
}

// setLimits sets how long and how often a call is tried, where the loader has not.
func setLimits(cfg *aws.Config) {
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
// SDK caches. Asking for them before a call tells a process without credentials
// from one that is not allowed something.
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
	account *account
	setting string // the environment variable that names it
	id      string // its ARN or name
}

// String names the secret in errors.
func (s *secret) String() string { return "the secret of " + s.setting }

// idForm is the form of a secret's id. A text of another form may be the secret
// itself, and is not shown.
var idForm = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(?:arn:[a-z-]+:secretsmanager:([^:]*):[0-9]+:secret:)?[A-Za-z0-9/_+=.@!-]+$`)
})

// read fetches the text of the secret's current version.
func (s *secret) read(ctx context.Context) ([]byte, error) {
	form := idForm().FindStringSubmatch(s.id)
	if len(s.id) > 640 || form == nil || strings.HasPrefix(s.id, "arn:") && !ValidRegion(form[1]) {
		return nil, misconfigured(s.setting+" is neither the ARN nor the name of a secret", "")
	}
	ctx, cancel := withLimit(ctx, callTime)
	defer cancel()
	cfg, _, err := s.account.credentials(ctx)
	if err != nil {
		return nil, err
	}
	cfg.Region = cmp.Or(form[1], cfg.Region)
	if cfg.Region == "" {
		return nil, noRegion(s.setting)
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
