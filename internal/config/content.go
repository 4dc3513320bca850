package config

import (
	"regexp"
	"strings"
)

// ContentStore is an S3-compatible bucket for the content of quarantined
// messages (docs/storage.md); all empty: content is kept on this machine. The
// credentials are in a file or in the environment, never here.
type ContentStore struct {
	Endpoint    string `xml:"endpoint"`
	Bucket      string `xml:"bucket"`
	Region      string `xml:"region"`
	Prefix      string `xml:"prefix"`
	PathStyle   bool   `xml:"path_style"`
	CAFile      string `xml:"ca_file"`
	Credentials string `xml:"credentials_file"`
}

// What S3 servers agree on: names of buckets, and characters that need no escape.
var (
	bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	regionName = regexp.MustCompile(`^[A-Za-z0-9-]{1,40}$`)
	prefixName = regexp.MustCompile(`^([A-Za-z0-9_-][A-Za-z0-9._-]*/)+$`)
)

func (k checker) contentStore() error {
	const path = "content_store"
	s := k.c.ContentStore
	if s == (ContentStore{}) {
		return nil
	}
	host, secure := strings.CutPrefix(s.Endpoint, "https://")
	if !secure {
		host = strings.TrimPrefix(s.Endpoint, "http://")
	}
	host, _, _ = strings.Cut(host, ":")
	switch {
	case k.c.Role != string(Manager):
		return k.at(path, 0, "", "content in a bucket is a setting of a manager")
	case s.Endpoint == "":
		return k.at(path, 0, "endpoint", "a bucket needs the address of its server, such as https://s3.example.com")
	case !validEndpoint(s.Endpoint):
		return k.at(path, 0, "endpoint", "%q is not the address of an S3 server such as https://s3.example.com", clip(s.Endpoint))
	case !secure && host != "127.0.0.1" && host != "localhost":
		return k.at(path, 0, "endpoint", "%q is not https: without TLS the server must be on this machine", clip(s.Endpoint))
	case !bucketName.MatchString(s.Bucket):
		return k.at(path, 0, "bucket", "%q is not the name of a bucket: 3 to 63 small letters, digits, - and .", clip(s.Bucket))
	case !s.PathStyle && strings.Contains(s.Bucket, "."):
		return k.at(path, 0, "path_style", "the name of bucket %s has a dot, which no certificate fits: path_style has to be 1", s.Bucket)
	case s.Region != "" && !regionName.MatchString(s.Region):
		return k.at(path, 0, "region", "%q is not a region such as eu-central-1", clip(s.Region))
	case s.Prefix != "" && (!prefixName.MatchString(s.Prefix) || len(s.Prefix) > 200):
		return k.at(path, 0, "prefix", "%q is not a prefix of letters, digits, -, _ and . that ends with /", clip(s.Prefix))
	}
	for name, file := range map[string]string{"ca_file": s.CAFile, "credentials_file": s.Credentials} {
		if len(file) > 4096 || strings.ContainsAny(file, "\r\n\t") {
			return k.at(path, 0, name, "%q is not the path of a file", clip(file))
		}
	}
	return nil
}

// endpoint is scheme, host and port; the S3 client reads it the same way.
var endpoint = regexp.MustCompile(`^https?://([A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(:[0-9]{1,5})?/?$`)

func validEndpoint(s string) bool { return len(s) <= 300 && endpoint.MatchString(s) }
