package admin

import (
	"strings"
	"testing"

	"lazaret/internal/config"
	"lazaret/internal/mail"
	"lazaret/internal/policy"
)

// Where the analyser is and what policies do about its verdicts; what makes no
// sense does not get in, and the key is not shown.
func TestFileAnalysisConfig(t *testing.T) {
	l, st := scanningSettings(t, engine{})
	wants(t, "none", first(run(t, l, admin, "policyconfig list inbound")), "Outbreak  Files\n", "off       off       off       off\n")
	wants(t, "set", first(run(t, l, admin, "fileanalysisconfig analyser=https://analyser.example.com/ kind=executable,pdf max_file_size=5M; fileanalysisconfig")),
		"Commit", "analyser=https://analyser.example.com/\n", "kind=executable,pdf\nmax_file_size=5M\n")
	if err := st.Change(admin, "a password", func(c *config.Config) error { c.FileAnalysis.Key = "s3cret"; return nil }); err != nil {
		t.Fatal(err)
	}
	if out, _ := run(t, l, admin, "fileanalysisconfig; fileanalysisconfig analyser_password=other"); strings.Contains(out, "s3cret") || !strings.Contains(out, "is asked for") {
		t.Errorf("%s", out)
	}
	wants(t, "policy", first(run(t, l, admin, "policyconfig new inbound Sales recipient=sales@ file_malicious=drop file_pending=deliver 'file_pending_tag=[NOT ANALYSED]'; policyconfig print inbound Sales; policyconfig list")),
		"file_analysis=custom\nfile_malicious=drop\n", "file_pending=deliver\nfile_pending_tag=[NOT ANALYSED]\n", "file_unscanned=wait\n", "custom\n", "default\n")
	conf, _ := st.Pending()
	table, err := conf.MailTable(config.Inbound)
	if err != nil || !table.Default.Analysis.Scan || table.Rows[0].Analysis.For(mail.FileMalicious).Action != policy.Drop || table.Default.Analysis.For(mail.FileUnscanned).Action != policy.Wait {
		t.Errorf("%+v %v", table, err)
	}
	for line, want := range map[string]string{
		"fileanalysisconfig analyser=http://analyser.example.com/":     "such as https://",
		"fileanalysisconfig analyser=https://u:p@analyser.example.com": "such as https://",
		"fileanalysisconfig analyser=":                                 "analyser is missing",
		"fileanalysisconfig kind=a/b":                                  "kind is what a file is",
		"fileanalysisconfig max_file_size=1G":                          "max_file_size is 1 to 100M",
		"fileanalysisconfig timeout=1h":                                "timeout is from 1s to 10m",
		"fileanalysisconfig colour=blue":                               "is not a parameter",
		"policyconfig edit inbound Sales file_malicious=wait":          "can wait",
		"policyconfig edit inbound Sales file_clean=drop":              "is not a parameter",
		"policyconfig edit inbound Sales file_analysis=maybe":          "default, custom or off",
	} {
		if out, _ := run(t, l, admin, line); !strings.Contains(out, want) {
			t.Errorf("%s: %q, want %q", line, out, want)
		}
	}
}
