package admin

import (
	"strings"
	"testing"
)

// What is not to leave is set up by commands; what makes no sense does not get in.
func TestDLPConfig(t *testing.T) {
	l, st := scanningSettings(t, engine{})
	wants(t, "none", first(run(t, l, admin, "dlpconfig list")), "There are no DLP policies.")
	wants(t, "new", first(run(t, l, admin, `dictionaryconfig new HR "salary, 5"; dlpconfig new Cards identifier=*credit,*iban dictionary=HR weight=20 low_from=15 critical=drop high_quarantine=Legal 'low_tag=[DLP]'; dlpconfig print Cards; dlpconfig list`)),
		"identifier=*credit,*iban\nweight=20\nlow_from=15\nlow=deliver\n", "low_tag=[DLP]\n", "high=quarantine\nhigh_quarantine=Legal\n", "critical=drop\ncritical_quarantine=\n", "Cards")
	wants(t, "policy", first(run(t, l, admin, "policyconfig edit outbound DEFAULT dlp_policy=Cards; policyconfig print outbound DEFAULT; commit")), "dlp=custom\ndlp_policy=Cards\n")
	conf := st.Committed()
	if sets, err := conf.DLPSets(); err != nil || len(sets) != 1 {
		t.Errorf("%v %v", sets, err)
	}
	for line, want := range map[string]string{
		"dlpconfig new Empty":                                "looks for nothing",
		"dlpconfig new cards identifier=*ssn":                "already",
		"dlpconfig new 'a b' identifier=*ssn":                "no name of a DLP policy",
		"dlpconfig new X identifier=*passport":               "not a smart identifier",
		"dlpconfig new X dictionary=None":                    "no dictionary",
		"dlpconfig edit Cards low_from=50":                   "above that of the severity before",
		"dlpconfig edit Cards low_from=101":                  "0 to 100",
		"dlpconfig edit Cards weight=x":                      "is a number",
		"dlpconfig edit Cards low=wait":                      "can wait",
		"dlpconfig edit Cards low_quarantine=Unclassified":   "cannot be named",
		"dlpconfig edit Cards worst=drop":                    "not a parameter",
		"dlpconfig edit Cards low_colour=blue":               "not a parameter",
		"dlpconfig delete Cards":                             "no DLP policy \"Cards\"",
		"dlpconfig print None":                               "no DLP policy None",
		"dictionaryconfig delete HR":                         "no dictionary \"HR\"",
		"policyconfig edit inbound DEFAULT dlp_policy=Cards": "outgoing",
		"policyconfig edit outbound DEFAULT dlp_policy=None": "no DLP policy",
	} {
		if out, _ := run(t, l, admin, line); !strings.Contains(out, want) {
			t.Errorf("%s: %q, want %q", line, out, want)
		}
	}
}
