package main

// What tests look at.
var (
	PackageTemplate = packageTemplate
	PackageConfig   = packageConfig
)

// NoticesFile has the licences.
const NoticesFile = noticesFile
