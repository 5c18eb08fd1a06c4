package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"maps"
	"mime"
	"net/http"
	"path"
	"regexp"
	"slices"
	"time"
)

//go:embed assets/*
var assetFiles embed.FS

// asset is one embedded file and the hash of its content.
type asset struct {
	body []byte
	hash string
	kind string
}

// mustAssets reads what is embedded; it cannot be missing.
func mustAssets() map[string]asset {
	files, err := assetFiles.ReadDir("assets")
	if err != nil {
		panic(err) // embedded
	}
	all := map[string]asset{}
	for _, f := range files {
		body, err := assetFiles.ReadFile("assets/" + f.Name())
		if err != nil {
			panic(err) // embedded
		}
		sum := sha256.Sum256(body)
		kind := mime.TypeByExtension(path.Ext(f.Name()))
		if path.Ext(f.Name()) == ".js" {
			kind = "text/javascript; charset=utf-8" // not every machine's table knows
		}
		all[f.Name()] = asset{body: body, hash: hex.EncodeToString(sum[:8]), kind: kind}
	}
	return all
}

// assetURL returns an address that changes with the content.
func (c *Console) assetURL(name string) string {
	return "/assets/" + name + "?v=" + c.assets[name].hash
}

func (c *Console) serveAsset(w http.ResponseWriter, r *http.Request) {
	a, ok := c.assets[r.PathValue("name")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", a.kind)
	w.Header().Set("ETag", `"`+a.hash+`"`)
	w.Header().Set("Cache-Control", "no-cache")
	if r.URL.Query().Get("v") == a.hash {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.body))
}

var symbol = regexp.MustCompile(`<symbol id="i-([a-z]+)".*</symbol>`)

// loadSymbols reads the sprite: one symbol a line, by name.
func loadSymbols(sprite []byte) map[string]string {
	all := map[string]string{}
	for _, m := range symbol.FindAllSubmatch(sprite, -1) {
		all[string(m[1])] = string(m[0])
	}
	return all
}

func symbolNames(symbols map[string]string) []string { return slices.Sorted(maps.Keys(symbols)) }
