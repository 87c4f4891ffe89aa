package credentials_test

import (
	"strings"
	"testing"

	"example.com/owner/sluice/internal/credentials"
)

func TestValid(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"eu-west-1", "us-east-1", "ap-southeast-5", "ap-northeast-3", "il-central-1", "me-central-1", "mx-central-1", "ca-west-1", "cn-northwest-1", "af-south-1",
		"us-gov-west-1", "us-iso-east-1", "us-isob-east-1", "us-isof-south-1", "eu-isoe-west-1", "eusc-de-east-1", "us-east-12",
	} {
		if !credentials.ValidRegion(text) {
			t.Errorf("%s is no region", text)
		}
	}
	for _, text := range []string{
		"", "-", "--", "---1", "1", "eu", "eu-west", "eu-1", "eu-west-", "-eu-west-1", "eu--west-1", "eu-west-1-", "eu-west-1a", "eu-west-x1", "eu1-west-1", "EU-WEST-1", "Eu-west-1",
		"evil.example.com/x", "evil.example.com", "evil-example-1.com", "eu-west-1.evil.com", "evil.com/eu-west-1", "evil.com#eu-west-1", "evil.com?eu-west-1", "eu-west-1/", "eu-west-1:8080", "user@eu-west-1", "eu-west-1@evil.com",
		"eu-west-1\n", " eu-west-1", "eu-west-1 ", "eu west-1", "eu-w\u00e9st-1", "eu-west-\u0661", "eu-west-1\x00", "eu-west-%31", "eu_west-1", "\u0435u-west-1", "eu-" + strings.Repeat("a", 60) + "-1",
		"aws-global", "elasticmq", "local",
	} {
		if credentials.ValidRegion(text) {
			t.Errorf("%q is a region", text)
		}
	}
}
