package adminssh

import (
	"strings"
	"testing"
)

// The tab key types what is certain and shows what is possible.
func TestTab(t *testing.T) {
	b := start(t, Limits{})
	y := shell(t, dial(t, b))
	y.until(prompt)
	for _, c := range []struct{ keys, shown, out string }{
		{"ec\t\t hi\r", "echo  echoes\r\n", "\r\nhi\r\n"}, // certain as far as both go, then both
		{"echo w\tx\r", "", "\r\nwörter x\r\n"},
		{"echo \"two w\t\r", "", "two words"},
		{"echo zzz\t\r", "", "\r\nzzz\r\n"}, // nothing begins so
	} {
		y.send(c.keys)
		if got := y.until("end\r\n" + prompt); !strings.Contains(got, c.shown) || !strings.Contains(got, c.out) {
			t.Errorf("%q: %q", c.keys, got)
		}
	}
	y.send("exit\r")
	if err := y.s.Wait(); err != nil {
		t.Error(err)
	}
}

func TestCommonPrefix(t *testing.T) {
	for _, c := range []struct {
		words []string
		want  string
	}{{nil, ""}, {[]string{"a"}, "a"}, {[]string{"abc", "abd"}, "ab"}, {[]string{"ä", "ö"}, ""}, {[]string{"xä", "xö"}, "x"}, {[]string{"ab", "abc"}, "ab"}} {
		if got := commonPrefix(c.words); got != c.want {
			t.Errorf("%q begin with %q", c.words, got)
		}
	}
}
