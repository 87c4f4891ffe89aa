package main

// What tests look at.
var (
	PackageTemplate   = packageTemplate
	PackageConfig     = packageConfig
	PackageParameters = packageParameters
)

// NoticesFile has the licences.
const NoticesFile = noticesFile
