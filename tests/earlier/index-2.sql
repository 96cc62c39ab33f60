BEGIN TRANSACTION;
CREATE TABLE job (
	id VARCHAR NOT NULL, 
	kind VARCHAR(10) NOT NULL, 
	title VARCHAR NOT NULL, 
	subject VARCHAR NOT NULL, 
	payload JSON NOT NULL, 
	state VARCHAR(9) NOT NULL, 
	lane VARCHAR(7) NOT NULL, 
	phase VARCHAR NOT NULL, 
	done INTEGER NOT NULL, 
	total INTEGER NOT NULL, 
	images_done INTEGER NOT NULL, 
	images_total INTEGER NOT NULL, 
	rate FLOAT, 
	attempts INTEGER NOT NULL, 
	cancel BOOLEAN NOT NULL, 
	cancel_asked FLOAT, 
	error VARCHAR, 
	pid INTEGER, 
	created FLOAT NOT NULL, 
	started FLOAT, 
	finished FLOAT, question JSON, 
	PRIMARY KEY (id)
);
INSERT INTO "job" VALUES('ddd06b815580','MODEL','Check of Corners','ff4eee8a8a97','{}','DONE','PREPARE','',0,0,0,0,NULL,1,0,NULL,NULL,NULL,1.79572094950909185405e+09,1.79572094955146169658e+09,1.79572094973332142828e+09,NULL);
INSERT INTO "job" VALUES('0da52a09014b','SET','Reading corners','9bb408281cb3','{}','DONE','PREPARE','',0,0,0,0,NULL,1,0,NULL,NULL,NULL,1795720949.53334,1.79572094977375650405e+09,1.79572095014428830149e+09,NULL);
INSERT INTO "job" VALUES('24a8cb2fb5a6','SET','Reading noise','da3b369ca3fd','{}','DONE','PREPARE','',0,0,0,0,NULL,1,0,NULL,NULL,NULL,1.79572094954499959949e+09,1.79572095014844346043e+09,1.79572095018009209631e+09,NULL);
INSERT INTO "job" VALUES('685d3d89705c','AUDIT','Corners and noise','db9974489e6d','{"spec": {"model": {"checkpoint": "/srv/gsc/home/models/4b80999aea9a1027b1c24b749fce10240b6c638931ce0c6c21d099fc4473d84b/small.pt2", "architecture": null, "options": {}, "pretrained": false, "preprocessing": {"resize": 12, "crop": [12, 12], "interpolation": "bilinear", "mean": [0.16666667, 0.16666667, 0.16666667], "std": [0.33333333, 0.33333333, 0.33333333], "source": "given"}, "class_names": null}, "id": "/srv/gsc/home/imagesets/9bb408281cb3/pictures", "ood": {"noise": "/srv/gsc/home/imagesets/da3b369ca3fd/pictures"}, "calibration": 0.5, "labels": null, "detectors": [{"name": "gsc-auto", "settings": {}}, {"name": "gsc", "settings": {}}, {"name": "energy", "settings": {}}, {"name": "knn", "settings": {}}, {"name": "auto-ensemble", "settings": {}}], "split": null, "device": "auto", "precision": "auto", "compiled": false, "batch_size": null, "threads": 2, "decoders": null, "seed": 0, "repeats": 50}}','DONE','AUDIT','',0,0,120,120,NULL,1,0,NULL,NULL,NULL,1.79572095019264769554e+09,1.79572095019877743722e+09,1.79572095121090483669e+09,NULL);
INSERT INTO "job" VALUES('1865f08cc33f','ABLATION','Ablation of Corners and noise','db9974489e6d','{"images_per_set": 400}','DONE','AUDIT','',0,0,0,0,NULL,1,0,NULL,NULL,NULL,1.79572095122502017015e+09,1.79572095124267339704e+09,1.79572095266955494884e+09,NULL);
INSERT INTO "job" VALUES('26118ffc5857','EXPORT','Detector energy of Corners and noise','db9974489e6d','{"decision": {"detector": "energy", "rule": {"name": "keep_id", "share": 0.9}, "value": -4.14086389541626, "chosen": "2026-11-26T19:22:31Z", "audited": "2026-11-26T19:22:31+00:00", "halved": false}, "onnx": true, "version": 8845086086874823284}','DONE','EXPLAIN','',0,0,0,0,NULL,1,0,NULL,NULL,NULL,1.79572095270111584662e+09,1.79572095271683621411e+09,1.79572096008253645894e+09,NULL);
CREATE TABLE storedmodel (
	id VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	spec JSON NOT NULL, 
	readiness VARCHAR(7) NOT NULL, 
	sentence VARCHAR, 
	facts JSON NOT NULL, 
	created FLOAT NOT NULL, question JSON, 
	PRIMARY KEY (id)
);
INSERT INTO "storedmodel" VALUES('ff4eee8a8a97','Corners','{"checkpoint": "/srv/gsc/home/models/4b80999aea9a1027b1c24b749fce10240b6c638931ce0c6c21d099fc4473d84b/small.pt2", "architecture": null, "options": {}, "pretrained": false, "preprocessing": {"resize": 12, "crop": [12, 12], "interpolation": "bilinear", "mean": [0.16666667, 0.16666667, 0.16666667], "std": [0.33333333, 0.33333333, 0.33333333], "source": "given"}, "class_names": null}','READY',NULL,'{"sha256": "4b80999aea9a1027b1c24b749fce10240b6c638931ce0c6c21d099fc4473d84b", "source": "small.pt2", "architecture": null, "num_classes": 4, "class_names": null, "parameters": 2912, "input_size": [12, 12], "preprocessing": {"resize": 12, "crop": [12, 12], "interpolation": "bilinear", "mean": [0.16666667, 0.16666667, 0.16666667], "std": [0.33333333, 0.33333333, 0.33333333], "source": "given"}, "splits": [{"name": "first.0", "shape": [8, 12, 12], "linear": false, "default": false}, {"name": "first.1", "shape": [8, 12, 12], "linear": false, "default": false}, {"name": "first", "shape": [8, 6, 6], "linear": false, "default": false}, {"name": "block.0", "shape": [12, 6, 6], "linear": false, "default": false}, {"name": "block.1", "shape": [12, 6, 6], "linear": false, "default": false}, {"name": "block.2", "shape": [16, 4, 4], "linear": false, "default": false}, {"name": "block", "shape": [16, 4, 4], "linear": true, "default": true}], "seconds_per_image": 3.946362494389177e-05, "predictions": [], "device": "cpu"}',1.79572094947845673556e+09,NULL);
CREATE TABLE storedset (
	id VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	role VARCHAR NOT NULL, 
	folder VARCHAR NOT NULL, 
	origin VARCHAR NOT NULL, 
	kept BOOLEAN NOT NULL, 
	readiness VARCHAR(7) NOT NULL, 
	sentence VARCHAR, 
	images INTEGER NOT NULL, 
	broken INTEGER NOT NULL, 
	duplicates INTEGER NOT NULL, 
	labels INTEGER NOT NULL, 
	bytes INTEGER NOT NULL, 
	sha256 VARCHAR, 
	created FLOAT NOT NULL, question JSON, labels_from VARCHAR, 
	PRIMARY KEY (id)
);
INSERT INTO "storedset" VALUES('9bb408281cb3','corners','id','/srv/gsc/home/imagesets/9bb408281cb3/pictures','a ZIP',1,'READY',NULL,80,0,0,4,36027,'258190227d33d40f36bada65577d9596c85b443ce939d80aeb7bccf379e7c74d',1.79572094953201603882e+09,NULL,'folders');
INSERT INTO "storedset" VALUES('da3b369ca3fd','noise','ood','/srv/gsc/home/imagesets/da3b369ca3fd/pictures','a ZIP',1,'READY',NULL,40,0,0,0,17868,'7a21d34997346e929ed77d9f28f7a1070abfa48869463574b989fb4c0a47a5c4',1.79572094954400420189e+09,NULL,'folders');
CREATE INDEX ix_job_state ON job (state);
CREATE INDEX ix_job_subject ON job (subject);
COMMIT;
PRAGMA user_version = 2;
