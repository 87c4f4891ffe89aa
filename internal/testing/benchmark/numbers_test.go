package benchmark_test

import "testing"

func TestNumbers(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{0: "0", 7.6: "8", 999: "999", 1000: "1,000", 12345: "12,300", 141499: "141,000", 9996: "10,000", 10_200_000: "10,200,000"} {
		if got := thousands(v); got != want {
			t.Errorf("thousands(%v) = %s, want %s", v, got, want)
		}
	}
	if got := median([]int{9, 1, 5}); got != 5 {
		t.Errorf("the median is %d, want 5", got)
	}
	// Of each round: the ratio of the medians would be 2.
	slow := []turn{{Rate: 1}, {Rate: 10}, {Rate: 100}}
	fast := []turn{{Rate: 3}, {Rate: 20}, {Rate: 300}}
	if got := ratio(fast, slow); got != 3 {
		t.Errorf("the ratio is %v, want 3", got)
	}
	if got := ratio(nil, slow); got != 0 {
		t.Errorf("the ratio of a way that was not measured is %v", got)
	}
	for _, tt := range []struct {
		goal goalReport
		want string
	}{
		{goalReport{Goal: 3, Got: 3}, "reached"},
		{goalReport{Goal: 3, Got: 2.9}, "missed"},
		{goalReport{Goal: 3, Got: 2.9, AtMost: true}, "reached"},
		{goalReport{Goal: 3, Got: 3.1, AtMost: true}, "missed"},
		{goalReport{Goal: 3, AtMost: true}, "not measured"},
	} {
		if got := tt.goal.verdict(); got != tt.want {
			t.Errorf("%+v is %s, want %s", tt.goal, got, tt.want)
		}
	}
}
