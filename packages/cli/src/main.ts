#!/usr/bin/env -S node --conditions=@sluice/source
export {}
