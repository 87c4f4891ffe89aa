package model_test

import (
	"math/big"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"example.com/owner/sluice/internal/model"
)

func TestCompareNumbers(t *testing.T) {
	t.Parallel()
	ordered := []string{
		"-1e99999999999", "-1e400", "-10", "-9.99", "-1.5", "-1.4999999999999999999999", "-1e-400", "0", "1e-400", "0.0999", "0.1", "1", "1.0000000000000000000001", "9.99", "10", "9007199254740993", "9007199254740994", "1e400", "1e99999999999",
	}
	for i, a := range ordered {
		for j, b := range ordered {
			if got, want := model.CompareNumbers(a, b), min(1, max(-1, i-j)); got != want {
				t.Errorf("%s and %s: got %d, want %d", a, b, got, want)
			}
		}
	}
	for _, equal := range [][]string{{"0", "-0", "0.000", "0e99999999999", "-0.0e-5"}, {"100", "1e2", "100.000", "0.001e5", "1000e-1"}, {"-0.5", "-5e-1", "-0.500", "-0.00005e4"}} {
		for _, a := range equal {
			for _, b := range equal {
				if got := model.CompareNumbers(a, b); got != 0 {
					t.Errorf("%s and %s: got %d", a, b, got)
				}
			}
		}
	}
}

// FuzzNumber compares two numbers with each other, and makes integers of them, as math/big does.
func FuzzNumber(f *testing.F) {
	for _, s := range [][2]string{{"1.5", "1.50"}, {"-0", "0e9"}, {"9223372036854775807.5", "-9223372036854775808"}, {"0.001e5", "99"}, {"18446744073709551616", "1e19"}, {"-0.0000001", "-1e-7"}} {
		f.Add(s[0], s[1], 3)
	}
	f.Fuzz(func(t *testing.T, a, b string, shift int) {
		shift %= 10
		x, ok1 := rational(a)
		y, ok2 := rational(b)
		if !ok1 || !ok2 {
			return
		}
		if got, want := model.CompareNumbers(a, b), x.Cmp(y); got != want {
			t.Errorf("%s and %s: got %d, want %d", a, b, got, want)
		}
		power := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(shift, -shift))), nil))
		if shift < 0 {
			power.Inv(power)
		}
		x.Mul(x, power)
		floor := new(big.Int).Div(x.Num(), x.Denom()) // Euclidean: rounded down, as the divisor is not negative
		n, exact, ok := model.IntegerOf(a, shift)
		if ok != floor.IsInt64() || ok && (n != floor.Int64() || exact != x.IsInt()) {
			t.Errorf("%s × 10^%d: got %d %v %v, want %v", a, shift, n, exact, ok, floor)
		}
	})
}

// rational reads a JSON number whose exponent is small enough for math/big.
func rational(text string) (*big.Rat, bool) {
	if v := jsontext.Value(text); !v.IsValid() || v.Kind() != '0' || len(text) > 100 || strings.TrimSpace(text) != text {
		return nil, false
	}
	if _, exponent, found := strings.Cut(strings.ToLower(text), "e"); found && len(exponent) > 4 {
		return nil, false
	}
	return new(big.Rat).SetString(text)
}
