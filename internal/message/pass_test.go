package message

import (
	"strings"
	"testing"
)

// Register B7: only marks made with the key, for this serial, count; each does.
func TestSEC_B7_Marks(t *testing.T) {
	ours := NewPasses("SERIAL1", []byte("key one"))
	line := ours.Line(7)
	for name, header := range map[string]string{
		"another gateway's": NewPasses("SERIAL2", []byte("key two")).Line(7),
		"another key":       NewPasses("SERIAL1", []byte("key two")).Line(7),
		"another number":    strings.Replace(line, " 7 ", " 8 ", 1),
		"a bit":             strings.Replace(line, line[len(line)-3:], "zz\r\n", 1)[:len(line)-1] + "\n",
		"upper case":        PassField + ": " + strings.ToUpper(ours.Mark(7)) + "\r\n",
		"cut":               line[:len(line)-4] + "\r\n",
		"more":              line[:len(line)-2] + "0\r\n",
		"serial only":       PassField + ": SERIAL1\r\n",
		"no serial":         PassField + ": " + strings.TrimPrefix(ours.Mark(7), "SERIAL1 ") + "\r\n",
		"empty":             PassField + ":\r\n",
		"another field":     "X-" + line,
		"folded away":       "Subject: x\r\n " + line,
		"in the body":       "\r\n" + line,
	} {
		h := NewHeaderScanner()
		h.CountPasses(ours)
		h.Write([]byte(header + "Subject: x\r\n\r\n" + line))
		if h.PassCount() != 0 {
			t.Errorf("%s: counted: %q", name, header)
		}
	}
	all := strings.Repeat(line, 3) + ours.Line(1<<40) + strings.ToLower(PassField) + " :\t" + ours.Mark(9) + " \r\n\r\n"
	for cut := range len(all) {
		h := NewHeaderScanner()
		h.CountPasses(ours)
		h.Write([]byte(all[:cut]))
		h.Write([]byte(all[cut:]))
		if h.PassCount() != 5 {
			t.Fatalf("cut at %d: %d marks", cut, h.PassCount())
		}
	}
	h := NewHeaderScanner()
	h.Write([]byte(all))
	if h.PassCount() != 0 {
		t.Error("counted for nobody")
	}
}
